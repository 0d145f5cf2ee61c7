package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// disks are the volumes of one node, in one directory: each is an image file with a file system of the claim's
// size, mounted by a loop device, so that a full volume is full; or, where the machine has no loop devices, a
// directory without a limit. A mount lives in the node's mount namespace and ends with it; the loop device ends
// with its mount.
type disks struct {
	root    string
	limited bool
}

func (d disks) image(name string) string { return filepath.Join(d.root, name+".ext4") }
func (d disks) mount(name string) string { return filepath.Join(d.root, name) }

// path is what pods mount: beneath the mount, so that no pod can write to a volume that is not mounted.
func (d disks) path(name string) string { return filepath.Join(d.mount(name), "data") }

func (d disks) has(name string) bool {
	_, err := os.Stat(d.path(name))
	return err == nil
}

// provide makes a volume of a size in bytes, or does nothing where it is there.
func (d disks) provide(name string, size int64) error {
	if d.has(name) {
		return nil
	}
	if err := os.MkdirAll(d.mount(name), 0o755); err != nil {
		return err
	}
	if d.limited {
		if err := d.format(name, size); err != nil {
			return err
		}
		if err := d.attach(name); err != nil {
			return err
		}
	}
	return openDirectory(d.path(name))
}

// attachAll mounts again what was made before the node ended.
func (d disks) attachAll() error {
	images, err := filepath.Glob(d.image("*"))
	for _, image := range images {
		if name := strings.TrimSuffix(filepath.Base(image), ".ext4"); !d.has(name) {
			err = errors.Join(err, os.MkdirAll(d.mount(name), 0o755), d.attach(name))
		}
	}
	return err
}

// grow makes a volume larger, at once or, where the machine may not grow what is mounted (that takes
// CAP_SYS_RESOURCE), when no pod has it; it is never made smaller.
func (d disks) grow(name string, size int64) error {
	if !d.limited {
		return nil
	}
	info, err := os.Stat(d.image(name))
	if err == nil && info.Size() < size {
		err = os.Truncate(d.image(name), size)
	}
	if err != nil {
		return err
	}
	device, err := run("losetup", "--noheadings", "--output", "NAME", "--associated", d.image(name))
	if err == nil {
		_, err = run("losetup", "--set-capacity", device)
	}
	if err != nil {
		return err
	}
	if _, err = run("resize2fs", device); err == nil {
		return nil
	}
	mounts, unread := os.ReadFile("/proc/self/mountinfo")
	if unread != nil {
		return unread
	}
	if strings.Count(string(mounts), " ext4 "+device+" ") > 1 {
		return fmt.Errorf("this machine cannot grow a volume in use; it grows when no pod has it: %w", err)
	}
	if _, err = run("umount", d.mount(name)); err == nil {
		_, err = run("resize2fs", "-f", d.image(name))
		err = errors.Join(err, d.attach(name))
	}
	return err
}

// remove leaves nothing of a volume, however much of it there is.
func (d disks) remove(name string) error {
	if d.limited && d.has(name) {
		if _, err := run("umount", d.mount(name)); err != nil {
			return err
		}
	}
	return errors.Join(os.RemoveAll(d.mount(name)), os.RemoveAll(d.image(name)))
}

func (d disks) format(name string, size int64) error {
	if _, err := os.Stat(d.image(name)); err == nil {
		return nil
	}
	partial := d.image(name) + ".partial"
	file, err := os.Create(partial)
	if err == nil {
		err = errors.Join(file.Truncate(size), file.Close())
	}
	if err == nil {
		// no blocks for root alone and no journal: nearly the whole size is the claim's, and the file stays sparse
		_, err = run("mkfs.ext4", "-q", "-F", "-b", "4096", "-i", "16384", "-m", "0", "-O", "^has_journal",
			"-E", "nodiscard,lazy_itable_init=1", partial)
	}
	if err == nil {
		err = os.Rename(partial, d.image(name))
	}
	return err
}

func (d disks) attach(name string) error {
	// discard: what is deleted in the volume gives its blocks back to the machine
	_, err := run("mount", "-o", "loop,discard,noatime", d.image(name), d.mount(name))
	return err
}

// openDirectory makes a directory that a pod of any user can write to, as volumes without fsGroup need.
func openDirectory(path string) error {
	if err := os.MkdirAll(path, 0o777); err != nil {
		return err
	}
	return os.Chmod(path, 0o777) // whatever the umask is
}

func run(program string, arguments ...string) (string, error) {
	said, err := exec.Command(program, arguments...).CombinedOutput()
	text := strings.TrimSpace(string(said))
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", program, strings.Join(arguments, " "), err, text)
	}
	return text, nil
}
