package rollout

import "strings"

func lower(kind string) string { return strings.ToLower(kind) }

func cutOwner(owner string) (kind, name string, ok bool) { return strings.Cut(owner, "/") }
