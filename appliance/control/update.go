package control

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"breakwater/appliance/host"
	"breakwater/appliance/settings"
	"breakwater/appliance/update"
	"breakwater/appliance/whole"
)

// Errors of updates that callers branch on, besides *update.Error and ErrNoAppliance.
var (
	ErrUpdateBusy    = errors.New("another update is being received or installed; wait until that is done")
	ErrUpdateGivenUp = errors.New("this version is in the other slot already and was given up; take a newer one, or try it once more under System, Power")
	ErrNoUpdate      = errors.New("no update was received")
	ErrNoUpdateURL   = errors.New("the settings name no URL to fetch updates from")
)

// UpdateOptions are where the versions of the appliance come from and go to. The zero value: this is no appliance.
type UpdateOptions struct {
	Dir    string             // what was received, and what a version on trial says
	Key    ed25519.PublicKey  // that updates are signed with
	System func() host.System // what runs
	// Install writes the received update into the other slot, which takes minutes.
	Install func(context.Context) error
	// Dial reaches the server of the settings' URL; nil: any but this box itself and what is next to it.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// UpdateState is how far an update has come.
type UpdateState string

// The states.
const (
	UpdateNone       UpdateState = "none"
	UpdateReceiving  UpdateState = "receiving" // and being checked
	UpdateReceived   UpdateState = "received"
	UpdateInstalling UpdateState = "installing"
	UpdateInstalled  UpdateState = "installed" // and starts at the next restart
)

// Update is which versions there are, and how far the next one has come.
type Update struct {
	host.System
	State    UpdateState     `json:"state"`
	Release  *update.Release `json:"release,omitempty"` // that was received or installed
	Received int64           `json:"received"`          // bytes, while it is received
	Size     int64           `json:"size"`              // bytes; 0: not known
	Reason   string          `json:"reason"`            // why the last step failed, in a sentence; empty: it did not
	URL      string          `json:"url"`               // of the settings
	// Missing are the origins that were up before the restart into this version, while none of them is.
	Missing []string `json:"missing"`
}

const (
	incomingName = "incoming" // an update that was checked as a whole
	// updateRoom is what stays free for settings and logs, in bytes. An update needs its size twice: as it came, and
	// unpacked for systemd-sysupdate.
	updateRoom = 64 << 20
)

// updates is the next version. Its worker is run, which Control.Run waits for.
type updates struct {
	UpdateOptions
	c    *Control
	jobs chan func(context.Context)

	received atomic.Int64

	mu      sync.Mutex
	doing   UpdateState // receiving or installing; empty: nothing
	state   UpdateState // besides that: none, received or installed
	release *update.Release
	reason  string
	size    int64
}

func newUpdates(c *Control, o UpdateOptions) *updates {
	u := &updates{UpdateOptions: o, c: c, jobs: make(chan func(context.Context), 1), state: UpdateNone}
	if u.on() {
		u.load()
		u.tellGivenUp()
	}
	return u
}

// on tells whether this is an appliance.
func (u *updates) on() bool { return u.System != nil }

// load finds what an earlier run has received or installed. What was not whole is removed.
func (u *updates) load() {
	log := u.c.log
	if err := errors.Join(os.MkdirAll(u.Dir, 0o700), whole.RemoveUnfinished(u.Dir)); err != nil {
		log.Error("prepare the directory of updates", "err", err)
	}
	// An update whose installation was confirmed is removed. One that is still here may be half in its slot, also where
	// the slot has its name already: it can be installed again.
	r, err := u.inspectIncoming()
	if err == nil {
		u.state, u.release = UpdateReceived, &r
		return
	}
	if !errors.Is(err, os.ErrNotExist) {
		log.Info("an update that is of no more use is removed", "err", err)
		if err := whole.Remove(u.path(incomingName)); err != nil {
			log.Error("remove the update", "err", err)
		}
	}
	if runs := u.System(); runs.Other > runs.Version && !slices.Contains(runs.Failed, runs.Other) {
		u.state, u.release = UpdateInstalled, &update.Release{Version: runs.Other}
		u.tellInstalled(runs.Other)
	}
}

func (u *updates) inspectIncoming() (update.Release, error) {
	f, err := os.Open(u.path(incomingName))
	if err != nil {
		return update.Release{}, err
	}
	r, err := update.Inspect(f, u.Key)
	if err = errors.Join(err, f.Close()); err != nil {
		return r, err
	}
	return r, u.admit(r)
}

func (u *updates) path(name string) string { return filepath.Join(u.Dir, name) }

// admit refuses what the unit that installs would refuse too.
func (u *updates) admit(r update.Release) error {
	runs := u.System()
	if err := r.Admit(runs.Version, settings.Schema); err != nil {
		return err
	}
	if slices.Contains(runs.Failed, r.Version) {
		return ErrUpdateGivenUp
	}
	return nil
}

// Update is what runs, what is in the other slot and how far the next version has come. Where this is no appliance it
// has no version.
func (c *Control) Update(ctx context.Context) (Update, error) {
	u := c.updates
	if !u.on() {
		return Update{System: host.System{Failed: []string{}}, State: UpdateNone, Missing: []string{}}, nil
	}
	s, err := c.currentSettings()
	if err != nil {
		return Update{}, err
	}
	seen := Update{System: u.System(), Received: u.received.Load(), URL: s.Updates.URL, Missing: u.missing(ctx)}
	seen.Failed = append([]string{}, seen.Failed...)
	u.mu.Lock()
	defer u.mu.Unlock()
	seen.State, seen.Release, seen.Size, seen.Reason = cmp.Or(u.doing, u.state), u.release, u.size, u.reason
	return seen, nil
}

// begin takes the one place for an update in progress.
func (u *updates) begin(what UpdateState) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.doing != "" {
		return ErrUpdateBusy
	}
	u.doing, u.reason, u.size = what, "", 0
	u.received.Store(0)
	return nil
}

// end gives the place back. What failed leaves what there was before.
func (u *updates) end(state UpdateState, r *update.Release, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.doing = ""
	if err != nil {
		u.reason = strings.TrimSuffix(sentence(err), ".") + "."
		return
	}
	u.state, u.release = state, r
}

// ReceiveUpdate takes an update: size bytes, 0 or less where that is not known. It is checked while it is written to the
// disk, and refused at the first byte that is wrong. The errors are *update.Error, ErrUpdateGivenUp, ErrUpdateBusy,
// ErrNoAppliance, ErrNoSpace and those of in; after each what was received before is still there.
func (c *Control) ReceiveUpdate(in io.Reader, size int64) (update.Release, error) {
	u := c.updates
	if !u.on() {
		return update.Release{}, ErrNoAppliance
	}
	if err := u.begin(UpdateReceiving); err != nil {
		return update.Release{}, err
	}
	r, err := u.receive(in, size)
	u.end(UpdateReceived, &r, err)
	return r, err
}

func (u *updates) receive(in io.Reader, size int64) (r update.Release, err error) {
	if size > update.MaxSize {
		return r, &update.Error{Fault: update.TooLarge, Text: fmt.Sprintf("the update is larger than %d MiB", update.MaxSize>>20)}
	}
	u.mu.Lock()
	u.size = max(0, size)
	u.mu.Unlock()
	if err := u.needRoom(2 * max(0, size)); err != nil {
		return r, err
	}
	var head bytes.Buffer
	if r, err = update.Inspect(io.TeeReader(in, &head), u.Key); err != nil {
		return r, err
	}
	if err := u.admit(r); err != nil {
		return r, err
	}
	if err := u.keep(io.MultiReader(&head, in)); err != nil {
		return r, err
	}
	u.c.conditions.Clear(updateAvailable, "")
	u.c.log.Info("an update was received", "version", r.Version)
	return r, nil
}

// keep checks a whole update while it writes it, and gives it its name once it is on the disk.
func (u *updates) keep(in io.Reader) (err error) {
	f, err := whole.Create(u.Dir)
	if err != nil {
		return roomError(err)
	}
	defer f.Discard()
	if _, err = update.Unpack(io.TeeReader(in, &keeping{u, f}), u.Key, nil); err != nil {
		return roomError(err)
	}
	return roomError(f.Keep(u.path(incomingName)))
}

func roomError(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return ErrNoSpace
	}
	return err
}

// keeping counts what arrives, and looks for room where nobody said how much will.
type keeping struct {
	u   *updates
	out io.Writer
}

func (k *keeping) Write(p []byte) (int, error) {
	const often = 16 << 20 // bytes
	before := k.u.received.Add(int64(len(p))) - int64(len(p))
	if before/often != (before+int64(len(p)))/often {
		if err := k.u.needRoom(often); err != nil {
			return 0, err
		}
	}
	return k.out.Write(p)
}

// needRoom refuses what would leave less than updateRoom.
func (u *updates) needRoom(bytes int64) error {
	var s unix.Statfs_t
	if err := unix.Statfs(u.Dir, &s); err != nil {
		return fmt.Errorf("look for room: %w", err)
	}
	free := int64(s.Bavail) * s.Bsize
	switch {
	case free >= bytes+updateRoom:
		return nil
	case bytes == 0: // nobody said how much will come
		return fmt.Errorf("%w: %d MiB must stay free beside an update, but only %d MiB are", ErrNoSpace, updateRoom>>20, free>>20)
	}
	return fmt.Errorf("%w: the update needs %d MiB in all and %d MiB must stay free, but only %d MiB are", ErrNoSpace, bytes>>20, updateRoom>>20, free>>20)
}

// InstallUpdate begins to write the received update into the other slot, and returns its version. Update tells what becomes of it.
func (c *Control) InstallUpdate() (version string, err error) {
	u := c.updates
	if !u.on() {
		return "", ErrNoAppliance
	}
	u.mu.Lock()
	r, there := u.release, u.state == UpdateReceived
	u.mu.Unlock()
	if !there {
		return "", ErrNoUpdate
	}
	if err := u.begin(UpdateInstalling); err != nil {
		return "", err
	}
	u.jobs <- func(ctx context.Context) { // begin lets one job in
		err := u.Install(ctx)
		if err == nil {
			err = whole.Remove(u.path(incomingName))
		}
		u.end(UpdateInstalled, r, err)
		if err != nil {
			u.c.log.Error("install the update", "version", r.Version, "err", err)
			return
		}
		u.c.log.Info("an update was installed", "version", r.Version)
		u.tellInstalled(r.Version)
		u.noteOrigins(ctx, r.Version)
	}
	return r.Version, nil
}

// ForgetUpdate removes the received update, and the reason why the last step failed; ErrNoUpdate when there is neither.
func (c *Control) ForgetUpdate() error {
	u := c.updates
	if !u.on() {
		return ErrNoAppliance
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.doing != "":
		return ErrUpdateBusy
	case u.state != UpdateReceived && u.reason == "":
		return ErrNoUpdate
	case u.state == UpdateReceived:
		if err := whole.Remove(u.path(incomingName)); err != nil {
			return err
		}
		u.state, u.release = UpdateNone, nil
	}
	u.reason = ""
	return nil
}

// run carries out one job after the other, and looks for a newer version once a day, until ctx ends.
func (u *updates) run(ctx context.Context) {
	look := newDaily()
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case job := <-u.jobs:
			job(ctx)
		case <-look.C:
			look.again()
			u.look(ctx)
		}
	}
}
