package plan

// SYNCookies tells when the filter answers the first packets of connections itself, by SYN cookies. An empty one means auto:
// plans that older versions of control made have none.
type SYNCookies string

// When it does.
const (
	SYNCookiesAuto SYNCookies = "auto" // while there are too many
	SYNCookiesOn   SYNCookies = "on"
	SYNCookiesOff  SYNCookies = "off"
)
