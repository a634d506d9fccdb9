package seed

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"breakwater/appliance/settings"
)

// The files by which the root helper and control talk, in control's directory.
const (
	handedFile = "seed.json"
	noticeFile = "seed-notice.json"

	temporarySuffix = ".tmp" // those that a crash left are removed when the store is opened
)

// Handed is a seed on its way from the root helper to control.
type Handed struct {
	From string          `json:"from"` // where it was found, for people
	Seed json.RawMessage `json:"seed"` // the file as it was
}

// Notice is what the root helper has to tell, which control shows.
type Notice struct {
	Time   time.Time `json:"time"`
	Title  string    `json:"title"`
	Detail string    `json:"detail"`
}

// NoticeOf tells why a seed was not applied.
func NoticeOf(from string, problems []settings.Problem) Notice {
	detail := (&Invalid{problems}).Error()
	return Notice{Title: "The seed file on " + from + " was not applied",
		Detail: fmt.Sprintf("What is wrong: %s. Nothing was changed and the file is still there. Correct it and plug it in again, or claim this box on its web page.", detail)}
}

// Hand gives a seed to control, whose directory is dir. It returns when the disk has it.
func Hand(dir string, h Handed) error { return give(dir, handedFile, h) }

// Waits tells whether a seed was handed over that control has not taken yet.
func Waits(dir string) bool { return exists(dir, handedFile) }

// Owned tells from the directory of control whether the box has an owner. The accounts are in that file for as long as
// there are any (appliance/store).
func Owned(dir string) bool { return exists(dir, "access.json") }

// Notify gives a notice to control in place of the last one; none: takes the last one back.
func Notify(dir string, n *Notice) error {
	if n != nil {
		return give(dir, noticeFile, n)
	}
	return forget(dir, noticeFile)
}

func exists(dir, name string) bool {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return false
	}
	defer root.Close()
	_, err = root.Lstat(name)
	return err == nil
}

// give writes a file for the owner of dir, whole or not at all. Root does that in a directory of somebody who could put
// anything in its way: a new file is made for sure, it is changed by its descriptor only, and rename(2) follows no link.
func give(dir, name string, value any) error {
	var data bytes.Buffer
	encoder := json.NewEncoder(&data)
	encoder.SetEscapeHTML(false) // it would make a file six times as long of one that is at its limit
	if err := encoder.Encode(value); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("open control's directory: %w", err)
	}
	defer root.Close()
	temporary := name + temporarySuffix
	if err := root.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write %s: %w", name, err)
	}
	file, err := root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	err = chownLike(root, file)
	if err == nil {
		_, err = file.Write(data.Bytes())
	}
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := root.Rename(temporary, name); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return syncDir(root)
}

// chownLike gives file to the owner of the directory.
func chownLike(root *os.Root, file *os.File) error {
	info, err := root.Stat(".")
	if err != nil {
		return err
	}
	owner, _ := info.Sys().(*syscall.Stat_t) // on Linux it always is one
	return file.Chown(int(owner.Uid), int(owner.Gid))
}

func forget(dir, name string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("open control's directory: %w", err)
	}
	defer root.Close()
	if err := root.Remove(name); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return syncDir(root)
}

func syncDir(root *os.Root) error {
	dir, err := root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// take reads what was given. Without the file the error is fs.ErrNotExist.
func take(dir, name string, into any) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	file, err := root.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, 2*MaxSize))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%w: %w", errHanded, err)
	}
	return nil
}
