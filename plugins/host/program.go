package host

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// MaxProgram is the largest plugin that is run, in bytes: it is held in memory.
const MaxProgram = 512 << 20

// program is an executable in sealed memory: nobody, not even this process, can change it any more.
type program struct {
	file *os.File
	sum  string // SHA-256, hexadecimal
}

// load copies an executable into memory and seals it. When want is not "", the SHA-256 of what was copied has to be it.
func load(name string, source io.Reader, want string) (*program, error) {
	memory, err := createMemory(name)
	if err != nil {
		return nil, fmt.Errorf("hold the program in memory: %w", err)
	}
	defer memory.Close()
	hash := sha256.New()
	n, err := io.Copy(io.MultiWriter(memory, hash), io.LimitReader(source, MaxProgram+1))
	if err != nil {
		return nil, fmt.Errorf("read the program: %w", err)
	}
	if n > MaxProgram {
		return nil, fmt.Errorf("the program is larger than %d MiB", MaxProgram>>20)
	}
	sum := hex.EncodeToString(hash.Sum(nil))
	if want != "" && subtle.ConstantTimeCompare([]byte(sum), []byte(strings.ToLower(want))) != 1 {
		return nil, fmt.Errorf("the program has the SHA-256 %s, its plugin block says %s: if you trust this file, correct sha256 there", sum, want)
	}
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(memory.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return nil, fmt.Errorf("seal the program: %w", err)
	}
	// Linux executes nothing that someone has open for writing, so it is opened once more, for reading.
	file, err := os.Open("/proc/self/fd/" + strconv.Itoa(int(memory.Fd())))
	if err != nil {
		return nil, fmt.Errorf("open the sealed program: %w", err)
	}
	return &program{file: file, sum: sum}, nil
}

func createMemory(name string) (*os.File, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate(name, flags|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3 all memory was executable, and the flag unknown
		fd, err = unix.MemfdCreate(name, flags)
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

func (p *program) close() { _ = p.file.Close() }
