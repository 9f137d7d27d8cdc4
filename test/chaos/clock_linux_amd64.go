package main

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"time"
)

// clock moves the wall clock of one process. libfaketime cannot: a static Go program asks the vDSO, a page of code that
// the kernel maps into every process, and not libc. So that page is what is changed, in this process alone: its
// clock_gettime becomes a system call whose CLOCK_REALTIME has an offset added. The monotonic clock stays right, as it
// does on a machine whose clock is set.
type clock struct {
	memory *os.File
	offset int64 // address of the offset, in seconds
}

const clockFunction = "__vdso_clock_gettime"

// clockCode is what clock_gettime becomes; eight bytes with the offset follow it.
var clockCode = []byte{
	0xb8, 0xe4, 0x00, 0x00, 0x00, // mov eax, 228 (clock_gettime)
	0x0f, 0x05, // syscall
	0x85, 0xff, // test edi, edi (CLOCK_REALTIME is 0)
	0x75, 0x0a, // jnz +10
	0x48, 0x8b, 0x15, 0x0e, 0x00, 0x00, 0x00, // mov rdx, [rip+14], the offset
	0x48, 0x01, 0x16, // add [rsi], rdx
	0xc3, // ret
	// So that the offset is aligned to 8 and written at once
	0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90,
}

// takeClock takes over the clock of a process that has just been started: so recently that the kernel may still be
// mapping it.
func takeClock(pid int) (*clock, error) {
	var start, size int64
	err := attempt(time.Second, func() (err error) {
		start, size, err = findVDSO(pid)
		return err
	})
	if err != nil {
		return nil, err
	}
	memory, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	c := &clock{memory: memory}
	if err := c.patch(start, size); err != nil {
		_ = memory.Close()
		return nil, fmt.Errorf("take over the clock of process %d: %w", pid, err)
	}
	return c, nil
}

func (c *clock) patch(start, size int64) error {
	image := make([]byte, size)
	if _, err := c.memory.ReadAt(image, start); err != nil {
		return err
	}
	file, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return err
	}
	symbols, err := file.DynamicSymbols()
	if err != nil {
		return err
	}
	// The code goes to the end of the last page, which is empty, and the function jumps there.
	room := size - 64
	if len(bytes.Trim(image[room:], "\x00")) > 0 {
		return fmt.Errorf("the vDSO has no %d empty bytes at its end", 64)
	}
	for _, symbol := range symbols {
		if symbol.Name != clockFunction {
			continue
		}
		if _, err := c.memory.WriteAt(clockCode, start+room); err != nil {
			return err
		}
		c.offset = start + room + int64(len(clockCode))
		jump := binary.LittleEndian.AppendUint32([]byte{0xe9}, uint32(room-int64(symbol.Value)-5))
		_, err := c.memory.WriteAt(jump, start+int64(symbol.Value))
		return err
	}
	return fmt.Errorf("the vDSO has no %s", clockFunction)
}

// set moves the clock to so much from the right time, in whole seconds.
func (c *clock) set(offset time.Duration) error {
	_, err := c.memory.WriteAt(binary.LittleEndian.AppendUint64(nil, uint64(offset/time.Second)), c.offset)
	return err
}

func (c *clock) close() { _ = c.memory.Close() }

func findVDSO(pid int) (start, size int64, err error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(maps)) {
		if strings.HasSuffix(line, "[vdso]\n") {
			var end int64
			_, err := fmt.Sscanf(line, "%x-%x", &start, &end)
			return start, end - start, err
		}
	}
	return 0, 0, fmt.Errorf("process %d has no vDSO", pid)
}
