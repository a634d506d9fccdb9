package settings

import "testing"

func TestDirectoryOfACME(t *testing.T) {
	const own = "https://ca.example/dir"
	tests := []struct {
		name string
		give ACME
		want string
	}{
		{"off", ACME{}, ""},
		{"by email", ACME{Email: "a@example.org"}, LetsEncrypt},
		{"of one's own", ACME{Directory: own}, own},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := Settings{Management: Management{ACME: tt.give}}
			if got := s.WithDefaults().Management.ACME.Directory; got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
