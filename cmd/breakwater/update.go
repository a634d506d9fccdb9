package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"breakwater/appliance/control"
)

// updateEvery is how often it is asked how far an update has come.
const updateEvery = time.Second

type updateCmd struct {
	connection
	File  string `arg:"" optional:"" help:"The update file." type:"existingfile"`
	Fetch bool   `help:"Let the box fetch it from the URL of its settings."`
}

// Run brings the update onto the box and into its other slot, and waits for both.
func (c *updateCmd) Run(ctx context.Context, e *env) error {
	if (c.File == "") != c.Fetch {
		return fmt.Errorf("%w: give either a file or --fetch", errUsage)
	}
	box, err := c.dial()
	if err != nil {
		return err
	}
	if c.Fetch {
		err = fetchUpdate(ctx, e, box)
	} else {
		err = sendUpdate(ctx, e, box, c.File)
	}
	if err != nil {
		return err
	}
	if err := box.call(ctx, http.MethodPost, "/api/v1/update/install", nil, nil, nil); err != nil {
		return err
	}
	u, err := followUpdate(ctx, e, box)
	if err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "Version %s is installed and starts at the next restart.\n", clean(u.Release.Version))
	return nil
}

func sendUpdate(ctx context.Context, e *env, box *client, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, box.base+"/api/v1/update", &progress{in: f, out: e.stdout, size: info.Size()})
	if err != nil {
		return err
	}
	request.ContentLength = info.Size()
	request.Header.Set("Content-Type", "application/octet-stream")
	response, err := box.send(request)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// progress tells each tenth of what was read.
type progress struct {
	in       io.Reader
	out      io.Writer
	size, at int64
}

func (p *progress) Read(b []byte) (int, error) {
	n, err := p.in.Read(b)
	before := p.at
	p.at += int64(n)
	if p.size > 0 && before*10/p.size != p.at*10/p.size {
		fmt.Fprintf(p.out, "Sent %s of %s.\n", size(uint64(p.at)), size(uint64(p.size)))
	}
	return n, err
}

func fetchUpdate(ctx context.Context, e *env, box *client) error {
	if err := box.call(ctx, http.MethodPost, "/api/v1/update/fetch", nil, nil, nil); err != nil {
		return err
	}
	_, err := followUpdate(ctx, e, box)
	return err
}

// followUpdate tells how far the box has come until it has, and returns what there is then.
func followUpdate(ctx context.Context, e *env, box *client) (u control.Update, err error) {
	for told := ""; ; {
		if err := box.get(ctx, "/api/v1/update", &u); err != nil {
			return u, err
		}
		text := ""
		switch u.State {
		case control.UpdateReceiving:
			text = "The box has fetched " + size(uint64(u.Received))
			if u.Size > 0 {
				text += " of " + size(uint64(u.Size))
			}
		case control.UpdateInstalling:
			text = "The box writes the other slot"
		default:
			if u.Reason != "" {
				return u, errors.New(clean(u.Reason))
			}
			if u.Release == nil {
				return u, errors.New("the box has no update any more: somebody else took it away")
			}
			return u, nil
		}
		if text != told {
			fmt.Fprintln(e.stdout, text+".")
			told = text
		}
		select {
		case <-ctx.Done():
			return u, ctx.Err()
		case <-time.After(updateEvery):
		}
	}
}
