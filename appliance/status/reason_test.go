package status

import "testing"

// TestReasons: texts and numbers are an interface, so each is there, and none is there twice.
func TestReasons(t *testing.T) {
	texts, codes := map[string]Reason{}, map[int]Reason{}
	for r := range ReasonCount {
		if r.String() == "" || r.Code() == 0 {
			t.Errorf("reason %d has the text %q and the number %d", r, r, r.Code())
		}
		if other, twice := texts[r.String()]; twice {
			t.Errorf("%d and %d are both %q", r, other, r)
		}
		if other, twice := codes[r.Code()]; twice {
			t.Errorf("%s and %s are both %d", r, other, r.Code())
		}
		texts[r.String()], codes[r.Code()] = r, r
		var back Reason
		if err := back.UnmarshalText([]byte(r.String())); err != nil || back != r {
			t.Errorf("%s is read as %s, %v", r, back, err)
		}
	}
	if err := new(Reason).UnmarshalText([]byte("weather")); err == nil {
		t.Error("weather is a reason")
	}
}

func TestDrop(t *testing.T) {
	for reason, want := range map[Reason]bool{
		Normal: false, ClientReset: false, OriginReset: false, Idle: false, Killed: false, Shutdown: false, WriteStall: false,
		Banned: true, NoService: true, NoOrigin: true, OriginRefused: true, ConnectTimeout: true, NotAnUpstream: true, BadHeader: true, HeaderTimeout: true,
		SessionLimit: true, RateLimit: true, Amplification: true, Oversize: true, Congested: true, OutOfFiles: true, Internal: true, ReasonCount: false,
	} {
		if got := reason.Drop(); got != want {
			t.Errorf("%s is a drop: %v, want %v", reason, got, want)
		}
	}
}
