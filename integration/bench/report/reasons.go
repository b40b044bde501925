package report

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
)

//go:embed reasons.md
var reasonsText string

// reasons are why targets are missed, by the targets' keys.
type reasons map[string]string

// parseReasons reads paragraphs below headings that are keys. One for a target that
// does not exist is an error: it would never be shown.
func parseReasons(text string) (reasons, error) {
	var known []string
	for _, t := range targets() {
		known = append(known, t.key)
	}
	all := reasons{}
	sections := strings.Split("\n"+text, "\n## ")
	for _, section := range sections[1:] {
		key, reason, _ := strings.Cut(section, "\n")
		reason = strings.Join(strings.Fields(reason), " ")
		if !slices.Contains(known, key) {
			return nil, fmt.Errorf("reasons.md explains %q, which is no target", key)
		}
		if reason == "" {
			return nil, fmt.Errorf("reasons.md has nothing to say about %q", key)
		}
		all[key] = reason
	}
	return all, nil
}
