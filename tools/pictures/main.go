// Command pictures writes the pictures of docs/, that of the benchmarks out of docs/bench.md:
//
//	go run ./tools/pictures docs/pictures
package main

import (
	"fmt"
	"html"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// style has the colours for a light page, and for a dark one.
const style = `<style>
text{font:14px system-ui,sans-serif;fill:#1f2328}.small{font-size:12px;fill:#59636e}
rect{fill:#f6f8fa;stroke:#59636e}.signed{fill:#ddf4e4}.key{fill:#fff1c9}.loose{stroke-dasharray:4 3}
path{stroke:#59636e;fill:none}.head{fill:#59636e;stroke:none}
@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.small{fill:#9198a1}
rect{fill:#151b23;stroke:#9198a1}.signed{fill:#12361f}.key{fill:#3d2f00}path{stroke:#9198a1}.head{fill:#9198a1;stroke:none}}
</style>`

// picture is an SVG in the making.
type picture struct {
	strings.Builder
	width, height int
}

func (p *picture) box(x, y, w, h int, class, title, note string) {
	fmt.Fprintf(p, "<rect class=%q x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"4\"/>\n", class, x, y, w, h)
	at := y + h/2 + 5
	if note != "" {
		at -= 9
		p.text(x+w/2, at+19, "small", note)
	}
	p.text(x+w/2, at, "", title)
}

func (p *picture) text(x, y int, class, text string) {
	fmt.Fprintf(p, "<text class=%q x=\"%d\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", class, x, y, html.EscapeString(text))
}

// arrow goes from left to right.
func (p *picture) arrow(x1, y1, x2, y2 int, class string) {
	fmt.Fprintf(p, "<path class=%q d=\"M%d %dC%d %d %d %d %d %d\"/>\n", class, x1, y1, (x1+x2)/2, y1, (x1+x2)/2, y2, x2-8, y2)
	fmt.Fprintf(p, "<path class=\"head\" d=\"M%d %dl-9 -5v10z\"/>\n", x2, y2)
}

// span is a line below things, with ends, and what it says.
func (p *picture) span(x1, x2, y int, text string) {
	fmt.Fprintf(p, "<path d=\"M%d %dv6H%dv-6\"/>\n", x1, y, x2)
	p.text((x1+x2)/2, y+22, "small", text)
}

func (p *picture) svg(title string) string {
	return fmt.Sprintf("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%[1]d\" height=\"%[2]d\" role=\"img\"><title>%s</title>\n%s\n%s</svg>\n",
		p.width, p.height, html.EscapeString(title), style, p.String())
}

func mapValue() string {
	p := &picture{width: 760, height: 150}
	p.box(10, 20, 80, 50, "", "N", "4 bytes")
	p.box(90, 20, 190, 50, "signed", "data", "")
	p.box(280, 20, 160, 50, "", "PKCS#7 message", "DER")
	p.box(440, 20, 90, 50, "", "trailer", "12 bytes")
	p.box(530, 20, 120, 50, "", "marker", "28 bytes")
	p.box(650, 20, 100, 50, "loose", "tail", "not signed")
	p.span(92, 278, 78, "what the message signs")
	p.span(282, 648, 78, "what sign-file appends")
	p.span(92, 648, 112, "N bytes")
	return p.svg("A signed BPF map value")
}

func twoPasses() string {
	p := &picture{width: 760, height: 150}
	p.box(10, 40, 150, 60, "", "build", "sign-file digest")
	p.box(300, 40, 160, 60, "key", "who has the key", "HSM, KMS, offline")
	p.box(600, 40, 150, 60, "signed", "signed modules", "sign-file attach")
	p.arrow(160, 70, 300, 70, "")
	p.arrow(460, 70, 600, 70, "")
	p.text(230, 60, "small", "digests")
	p.text(530, 60, "small", "signatures")
	p.text(230, 132, "small", "no key here")
	p.text(530, 132, "small", "each checked with the certificate")
	return p.svg("Two passes: build, sign elsewhere, attach")
}

func keyrings() string {
	p := &picture{width: 760, height: 300}
	from := []struct{ title, note, ring, class string }{
		{"the kernel's image", "key of its build", ".builtin_trusted_keys", ""},
		{"keyctl, the kernel's build", "vouched for by the first", ".secondary_trusted_keys", ""},
		{"mokutil --import", "by way of shim", ".machine", ""},
		{"UEFI db", "firmware", ".platform", "loose"},
	}
	for i, f := range from {
		y := 15 + 70*i
		p.box(10, y, 210, 50, "", f.title, f.note)
		p.box(300, y, 210, 50, f.class, f.ring, "")
		p.arrow(220, y+25, 300, y+25, "")
		p.arrow(510, y+25, 600, 120, f.class)
	}
	p.box(600, 90, 150, 60, "signed", "modules", "verified with these")
	p.text(640, 270, "small", "dashed: kernels with a patch")
	p.text(640, 286, "small", "of the distributions")
	return p.svg("Which keyrings a kernel verifies modules with")
}

// row is a work of the benchmarks, and how long ours takes where theirs takes 1.
type row struct {
	work  string
	ratio float64
}

// firstTable reads the first table of bench.md.
func firstTable(page string) (rows []row) {
	for line := range strings.Lines(page) {
		cells := strings.Split(strings.TrimPrefix(line, "| "), " | ")
		if len(cells) < 2 {
			if rows != nil {
				return rows
			}
			continue
		}
		if ratio, err := strconv.ParseFloat(cells[1], 64); err == nil {
			rows = append(rows, row{cells[0], ratio})
		}
	}
	return rows
}

func bench(rows []row) string {
	const left, unit, step = 510, 280, 30
	p := &picture{width: 900, height: step*len(rows) + 50}
	for i, r := range rows {
		y, length := 10+step*i, max(2, int(r.ratio*unit))
		fmt.Fprintf(p, "<text class=\"small\" x=\"10\" y=\"%d\">%s</text>\n", y+16, html.EscapeString(r.work))
		fmt.Fprintf(p, "<rect class=\"signed\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"22\"/>\n", left, y, length)
		p.text(left+length+20, y+16, "small", fmt.Sprintf("%.2f", r.ratio))
	}
	fmt.Fprintf(p, "<path d=\"M%d 4V%d\"/>\n", left+unit, p.height-30)
	p.text(left+unit, p.height-12, "small", "1: as long as theirs")
	return p.svg("Time, ours divided by theirs")
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: pictures DIR")
		os.Exit(2)
	}
	page, err := os.ReadFile("docs/bench.md")
	if err != nil {
		fmt.Fprintln(os.Stderr, "pictures:", err)
		os.Exit(1)
	}
	for name, svg := range map[string]string{"map-value": mapValue(), "two-passes": twoPasses(), "keyrings": keyrings(), "bench": bench(firstTable(string(page)))} {
		if err := os.WriteFile(filepath.Join(os.Args[1], name+".svg"), []byte(svg), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, "pictures:", err)
			os.Exit(1)
		}
	}
}
