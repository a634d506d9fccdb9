package status

// Trial is what came of one connection that was tried from the box.
type Trial struct {
	Address    string  `json:"address"`    // that was dialled, address:port; empty: it came to none
	Connected  bool    `json:"connected"`  // TCP: the handshake was finished; UDP: an answer came
	ConnectMS  float64 `json:"connectMs"`  // until then
	HeaderSent []byte  `json:"headerSent"` // the PROXY header, byte for byte
	HeaderText string  `json:"headerText"` // the same in words; empty: none was sent
	Received   []byte  `json:"received"`   // the first 512 bytes that came back
	Ending     string  `json:"ending"`     // how the origin left it, in words, such as "still open after 1s"
	Error      string  `json:"error"`      // what went wrong, one sentence; empty: nothing
	Reason     Reason  `json:"reason"`     // under which a session's end would be counted; normal: it works
}
