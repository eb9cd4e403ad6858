// Command init is the only program of the virtual machine that the kernel tests
// boot. It reads the vectors from its initramfs, puts each to the kernel and
// reports its answer.
package main

import (
	"bytes"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"sign-file/test/kernel/vector"
	"sign-file/test/vm/guest"
)

func main() { guest.Run(answer) }

// answer runs the vectors. Its error is a broken machine, never a refusing kernel.
func answer(report func(any) error) error {
	file, err := os.Open("/" + vector.File)
	if err != nil {
		return err
	}
	job, err := vector.Read(file)
	if err != nil {
		return fmt.Errorf("reading vectors: %w", err)
	}
	m := machine{}
	if m.log, err = openLog(); err != nil {
		return err
	}
	if m.rings, err = newKeyrings(job.Keyrings); err != nil {
		return err
	}
	for _, v := range job.Vectors {
		m.log.lines() // whatever came between the vectors is nobody's
		r, err := m.run(v)
		if err != nil {
			return fmt.Errorf("vector %q: %w", v.Name, err)
		}
		r.Name, r.Log = v.Name, m.log.lines()
		if err := report(r); err != nil {
			return err
		}
	}
	return nil
}

type machine struct {
	log   kernelLog
	rings *keyrings
	bpf   *verifier // made for the first vector that needs it
}

func (m *machine) run(v vector.Vector) (vector.Result, error) {
	data, signature := v.Patched()
	var r vector.Result
	var err error
	switch v.Kind {
	case vector.Module:
		r, err = loadModule(v.Keep, func() error { return insert(data, v.Flags) })
	case vector.Insmod:
		r, err = loadModule(v.Keep, func() error { return insmod(data, v.Suffix) })
	case vector.Certificate:
		r.Errno, err = m.rings.offer(data)
	case vector.Value, vector.Detached:
		r.Errno, err = m.verify(v, data, signature)
	case vector.Enforce:
		err = os.WriteFile("/sys/module/module/parameters/sig_enforce", []byte("Y"), 0)
	default:
		err = fmt.Errorf("unknown kind %q", v.Kind)
	}
	return r, err
}

func (m *machine) verify(v vector.Vector, data, signature []byte) (syscall.Errno, error) {
	if v.Kind == vector.Value {
		var errno syscall.Errno
		if data, signature, errno = splitValue(data); errno != 0 {
			return errno, nil
		}
	}
	var ring int32
	if v.Keyring != "" {
		var err error
		if ring, err = m.rings.get(v.Keyring); err != nil {
			return 0, err
		}
	}
	if m.bpf == nil {
		var err error
		if m.bpf, err = newVerifier(); err != nil {
			return 0, fmt.Errorf("loading the BPF program: %w", err)
		}
	}
	return m.bpf.verify(data, signature, ring, uint32(v.System))
}

// kernelLog reads /dev/kmsg, one record a read, from where it was opened on.
type kernelLog int

func openLog() (kernelLog, error) {
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == nil {
		_, err = unix.Seek(fd, 0, unix.SEEK_END)
	}
	if err != nil {
		return 0, fmt.Errorf("/dev/kmsg: %w", err)
	}
	return kernelLog(fd), nil
}

// lines returns what the kernel logged since the last call. A record is
// "priority,sequence,time,flags;text\n" and then " KEY=value\n" lines
// (Documentation/ABI/testing/dev-kmsg).
func (l kernelLog) lines() []string {
	var found []string
	buf := make([]byte, 8192)
	for {
		n, err := unix.Read(int(l), buf)
		if err == unix.EPIPE || err == unix.EINTR {
			continue // records were overwritten before we came
		}
		if err != nil || n <= 0 {
			return found
		}
		_, text, _ := bytes.Cut(buf[:n], []byte(";"))
		text, _, _ = bytes.Cut(text, []byte("\n"))
		found = append(found, string(text))
	}
}
