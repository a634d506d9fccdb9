package settings

import (
	"fmt"
	"strings"
)

// maxName is the length of a name, maxOriginName that of an origin's, which has room for the name it gets by
// default: its pool's, a hyphen and its place.
const (
	maxName       = 40
	maxOriginName = maxName + len("-4096")
)

const (
	lower  = "abcdefghijklmnopqrstuvwxyz"
	upper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits = "0123456789"
)

// only tells whether text is made of the characters in set.
func only(text, set string) bool { return strings.Trim(text, set) == "" }

// nameProblem says what is wrong with a name, or nothing. Names stand in URLs, logs and metrics without escaping.
func nameProblem(name string, longest int) string {
	if name == "" {
		return fmt.Sprintf("is missing; a name is 1 to %d of a-z, 0-9 and hyphens", longest)
	}
	if len(name) > longest || !only(name, lower+digits+"-") {
		return fmt.Sprintf("%s is not a name; a name is 1 to %d of a-z, 0-9 and hyphens", quote(name), longest)
	}
	return ""
}

// interfaceProblem says what is wrong with the name of a network interface, or nothing. The kernel takes 1 to 15 bytes
// without slash, colon and space (dev_valid_name in net/core/dev.c). We take less: a "+" at the end is a wildcard to
// iptables, a "!" or "-" in front an option.
func interfaceProblem(name string) string {
	switch {
	case name == "lo":
		return "\"lo\" is the box's own loopback, where no client arrives; write the interface of a network card"
	case len(name) < 1 || len(name) > 15, strings.HasPrefix(name, "-"), strings.Trim(name, ".") == "",
		!only(name, lower+upper+digits+"._-"):
		return fmt.Sprintf("%s is not the name of a network interface; it is 1 to 15 letters, digits, dots, hyphens and underscores, like \"eth0\"", quote(name))
	}
	return ""
}

// dnsProblem says what is wrong with a DNS name, or nothing (RFC 1123 section 2.1; 253 bytes follow from RFC 1035
// section 3.1). Names of services begin their labels with an underscore (RFC 2782); only those may.
func dnsProblem(name string, service bool) string {
	bare := strings.TrimSuffix(name, ".")
	if bare == "" || len(bare) > 253 {
		return fmt.Sprintf("%s is not a DNS name; one has 1 to 253 characters", quote(name))
	}
	labels := strings.Split(bare, ".")
	for _, label := range labels {
		if service {
			label = strings.TrimPrefix(label, "_")
		}
		if !dnsLabel(label) {
			return fmt.Sprintf("%s is neither an IP address nor a DNS name; a name is letters, digits and hyphens between dots (other scripts in their xn-- form)", quote(name))
		}
	}
	// A last label of digits is a mistyped IPv4 address: no top-level domain is numeric (RFC 3696 section 2).
	last := labels[len(labels)-1]
	if only(last, digits) {
		return fmt.Sprintf("%s is not an IP address; write it like \"10.0.0.20\"", quote(name))
	}
	if strings.EqualFold(last, "localhost") {
		return fmt.Sprintf("%s is the box itself (RFC 6761); write the name of the origin", quote(name))
	}
	return ""
}

func dnsLabel(label string) bool {
	return len(label) >= 1 && len(label) <= 63 && label[0] != '-' && label[len(label)-1] != '-' &&
		only(label, lower+upper+digits+"-")
}

// pageNameProblem says what is wrong with a name under which the web page is opened, or nothing. Browsers send it in
// the Host header, and authorities certify it: a wildcard or a name with a dot at its end is neither.
func pageNameProblem(name string) string {
	switch {
	case name == "":
		return "is empty; write a DNS name like \"box.example.org\""
	case isAddress(name):
		return fmt.Sprintf("%s is an address; the page can be opened under each address of the box, so leave it out", quote(name))
	case strings.HasSuffix(name, "."):
		return fmt.Sprintf("%s ends with a dot; write it without", quote(name))
	case !isHostName(name):
		return fmt.Sprintf("%s is not a DNS name; one is letters, digits and hyphens between dots (other scripts in their xn-- form), like \"box.example.org\"", quote(name))
	}
	return ""
}

// isHostName tells whether text is a name that hosts can have (RFC 1123 section 2.1), not a mistyped IPv4 address.
func isHostName(text string) bool {
	labels := strings.Split(text, ".")
	for _, label := range labels {
		if !dnsLabel(label) {
			return false
		}
	}
	return len(text) <= 253 && !only(labels[len(labels)-1], digits)
}

// IsName tells whether text can be the name of a pool, service or webhook.
func IsName(text string) bool { return nameProblem(text, maxName) == "" }
