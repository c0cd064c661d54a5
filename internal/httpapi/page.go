package httpapi

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
)

// Paging is how much of a list is wanted.
type Paging struct {
	Limit    int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"How many items at most."`
	Continue string `query:"continue" doc:"Where the page before ended; empty for the first page. With the same filters and order only."`
}

// Page is a part of a list.
type Page[T any] struct {
	Items    []T    `json:"items" nullable:"false"`
	Total    int    `json:"total" doc:"How many items the filters let through, on all pages."`
	Continue string `json:"continue,omitempty" doc:"For the next page; empty on the last one."`
}

// paged cuts one page out of the whole list.
func paged[T any](all []T, p Paging) (Page[T], error) {
	first, err := decodeContinue(p.Continue)
	if err != nil {
		return Page[T]{}, err
	}
	first = min(first, len(all))
	last := min(first+max(p.Limit, 1), len(all))
	page := Page[T]{Items: all[first:last:last], Total: len(all)}
	if page.Items == nil {
		page.Items = []T{}
	}
	if last < len(all) {
		page.Continue = base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(last)))
	}
	return page, nil
}

func decodeContinue(token string) (int, error) {
	if token == "" {
		return 0, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	n, nerr := strconv.Atoi(string(b))
	if err != nil || nerr != nil || n < 0 {
		return 0, problemf(http.StatusBadRequest, "continue %q is not what a page before said", token)
	}
	return n, nil
}

// found tells whether one of the texts contains the words that are looked for; no words find everything.
func found(words string, texts ...string) bool {
	all := strings.ToLower(strings.Join(texts, " "))
	for word := range strings.FieldsSeq(strings.ToLower(words)) {
		if !strings.Contains(all, word) {
			return false
		}
	}
	return true
}
