// Package urltest tells, for the fuzz targets of those who read store URLs, what in a URL
// must not be repeated.
package urltest

import "strings"

// Secret is what passwords in URLs for fuzzing have in them. No error may repeat it.
const Secret = "S3CRET"

// HasSecret tells whether Secret is in a URL where somebody may have meant a password: behind
// a colon that is not the scheme's, and before an @. Whether it was encoded as it should
// be, and so is one for who parses the URL, does not matter.
func HasSecret(raw string) bool {
	before, after, ok := strings.Cut(raw, Secret)
	if _, rest, scheme := strings.Cut(before, "://"); scheme {
		before = rest
	}
	return ok && strings.Contains(before, ":") && strings.Contains(after, "@") && !strings.Contains(after, Secret)
}

// Seeds are URLs of a scheme for f.Add: of every form that is read, and of some in which a
// password is not encoded.
func Seeds(scheme string) []string {
	seeds := []string{"u:" + Secret + "@h:1", ":u:" + Secret + "@h", "//u:" + Secret + "@h"}
	for _, rest := range []string{
		"h", "u:S3CRET@h1:1,h2/a?ttl=1s", "[::1]:9,[fe80::1%25eth0]/x", "u:%40%2F%3AS3CRET@h/%2F", ",:,/", ":S3CRET@h", "h1,a b", "h:065", "%C3%BC/%FF#y",
		"u:1/S3CRET@h", "u:/S3CRET@h", "u:12@/S3CRET@h", ":?wait=S3CRET@h", "u:1#S3CRET@h", "u:S3%CRET@h,h2:x", "u:S3CRET@h:x", "u: S3CRET@h",
	} {
		seeds = append(seeds, scheme+"://"+rest)
	}
	return seeds
}
