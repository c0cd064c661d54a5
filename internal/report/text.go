package report

import (
	"fmt"
	"html/template"
	"strings"
)

// Markdown is the report in GitHub Flavored Markdown (https://github.github.com/gfm/).
func (r Report) Markdown() string {
	d := r.document()
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n", literal(d.Title))
	for _, s := range d.Sections {
		if s.Title != "" {
			fmt.Fprintf(&b, "\n%s %s\n", strings.Repeat("#", s.Level), literal(s.Title))
		}
		for _, t := range s.Text {
			fmt.Fprintf(&b, "\n%s\n", literal(t))
		}
		for n, item := range s.List {
			if n == 0 {
				b.WriteString("\n")
			}
			fmt.Fprintf(&b, "- %s\n", literal(item))
		}
		if s.Table != nil {
			b.WriteString("\n")
			row(&b, s.Table.Head)
			b.WriteString(strings.Repeat("|---", len(s.Table.Head)) + "|\n")
			for _, cells := range s.Table.Rows {
				row(&b, cells)
			}
		}
	}
	return b.String()
}

func row(b *strings.Builder, cells []string) {
	for _, c := range cells {
		b.WriteString("| " + literal(c) + " ")
	}
	b.WriteString("|\n")
}

// escape keeps what others have written, like the notes of people and the words of an API server, from being read as markup.
var escape = strings.NewReplacer("\\", "\\\\", "|", "\\|", "<", "&lt;", ">", "&gt;", "&", "&amp;", "*", "\\*", "_", "\\_", "`", "\\`", "[", "\\[", "]", "\\]", "#", "\\#", "\r", "", "\n", " ")

func literal(s string) string { return escape.Replace(s) }

// HTML is the report as one page that loads nothing and runs nothing.
func (r Report) HTML() (string, error) {
	var b strings.Builder
	if err := page.Execute(&b, r.document()); err != nil {
		return "", fmt.Errorf("write the report: %w", err)
	}
	return b.String(), nil
}

var page = template.Must(template.New("report").Parse(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}}</title>
<style>
  :root { color-scheme: light dark; }
  body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
  h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; } h3 { font-size: 1.05rem; margin-top: 1.6rem; } h4 { font-size: 1rem; }
  .wide { overflow-x: auto; }
  table { border-collapse: collapse; width: 100%; }
  th, td { text-align: left; vertical-align: top; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid #8884; overflow-wrap: anywhere; }
  td:first-child, th:first-child { white-space: nowrap; }
  @media print { body { margin: 0; max-width: none; } h2, h3, h4 { break-after: avoid; } tr { break-inside: avoid; } }
</style>
</head>
<body>
<main>
<h1>{{.Title}}</h1>
{{range .Sections}}<section>
{{if .Title}}{{if eq .Level 2}}<h2>{{.Title}}</h2>{{else if eq .Level 3}}<h3>{{.Title}}</h3>{{else}}<h4>{{.Title}}</h4>{{end}}
{{end}}{{range .Text}}<p>{{.}}</p>
{{end}}{{if .List}}<ul>
{{range .List}}<li>{{.}}</li>
{{end}}</ul>
{{end}}{{with .Table}}<div class="wide"><table>
{{if index .Head 0}}<thead><tr>{{range .Head}}<th scope="col">{{.}}</th>{{end}}</tr></thead>
<tbody>{{range .Rows}}<tr>{{range .}}<td>{{.}}</td>{{end}}</tr>
{{end}}</tbody>{{else}}<tbody>{{range .Rows}}<tr><th scope="row">{{index . 0}}</th><td>{{index . 1}}</td></tr>
{{end}}</tbody>{{end}}
</table></div>
{{end}}</section>
{{end}}</main>
</body>
</html>
`))
