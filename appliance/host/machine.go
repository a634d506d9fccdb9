package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
)

// commandWait bounds nft(8), which takes no time unless something is wrong.
const commandWait = 20 * time.Second

// writeFirewall runs nft(8), the only way to change its tables without a library for them.
func writeFirewall(ctx context.Context, input string) error {
	ctx, cancel := context.WithTimeout(ctx, commandWait)
	defer cancel()
	nft := exec.CommandContext(ctx, "/usr/sbin/nft", "-f", "-")
	nft.Stdin = strings.NewReader(input)
	if out, err := nft.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// deleteLink never takes away what is not a VLAN or bond, whatever its name.
func deleteLink(name string) error {
	link, err := netlink.LinkByName(name)
	if _, none := errors.AsType[netlink.LinkNotFoundError](err); none {
		return nil
	}
	if err != nil {
		return err
	}
	if kind := link.Type(); kind != "vlan" && kind != "bond" {
		return fmt.Errorf("it is no VLAN or bond but %s", kind)
	}
	return netlink.LinkDel(link)
}
