package rsalanes

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"runtime"
	"sync"
	"sync/atomic"
)

// Signer signs for many goroutines. DigestInfos that wait while all processors are busy
// go together, Batch at once; none waits for company. Where a result is wrong, crypto/rsa
// signs instead.
type Signer struct {
	key      *Key
	standard func() (*rsa.PrivateKey, error)
	faults   atomic.Int64

	mu      sync.Mutex
	waiting []request
	running int // batches under way
}

type request struct {
	digestInfo []byte
	answer     chan<- answer
}

type answer struct {
	signature []byte
	err       error
}

// NewSigner prepares a key: see NewKey. standard returns the same key for crypto/rsa, and
// is called only where it's needed.
func NewSigner(n Numbers, instructions Instructions, standard func() (*rsa.PrivateKey, error)) (*Signer, error) {
	key, err := NewKey(n, instructions)
	if err != nil {
		return nil, err
	}
	return &Signer{key: key, standard: standard}, nil
}

// Batch is that of Key: how many that wait are signed at once.
func (s *Signer) Batch() int { return s.key.Batch() }

// Faults is how many results were wrong and made anew by crypto/rsa, which found nothing
// wrong with the key.
func (s *Signer) Faults() int { return int(s.faults.Load()) }

// Sign returns the PKCS#1 v1.5 signature of a DER DigestInfo.
func (s *Signer) Sign(digestInfo []byte) ([]byte, error) {
	done := make(chan answer, 1)
	s.mu.Lock()
	s.waiting = append(s.waiting, request{digestInfo, done})
	free := s.running < runtime.GOMAXPROCS(0)
	if free {
		s.running++
	}
	s.mu.Unlock()
	if free {
		s.run()
	}
	a := <-done
	return a.signature, a.err
}

// run signs what waits, and leaves what comes meanwhile to another goroutine. Whoever is
// ready to run goes first, each until it waits as well: a signature for four takes little
// longer than for one.
func (s *Signer) run() {
	runtime.Gosched()
	batch := s.next()
	if len(batch) == 0 {
		return
	}
	infos := make([][]byte, len(batch))
	for i, r := range batch {
		infos[i] = r.digestInfo
	}
	signatures, err := s.key.SignBatch(infos)
	for i, r := range batch {
		if err != nil {
			r.answer <- s.byStandardLibrary(r.digestInfo)
		} else {
			r.answer <- answer{signature: signatures[i]}
		}
	}
	if s.more() {
		go s.run()
	}
}

// more ends the run if nothing waits.
func (s *Signer) more() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 {
		s.running--
		return false
	}
	return true
}

// next takes the requests of a whole batch, or else one; none ends the run.
func (s *Signer) next() []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(1, len(s.waiting))
	if batch := s.key.Batch(); len(s.waiting) >= batch {
		n = batch
	}
	batch := s.waiting[:n:n]
	s.waiting = s.waiting[n:]
	if n == 0 {
		s.waiting = nil
		s.running--
	}
	return batch
}

func (s *Signer) byStandardLibrary(digestInfo []byte) answer {
	private, err := s.standard()
	if err != nil {
		return answer{err: err}
	}
	signature, err := private.Sign(rand.Reader, digestInfo, crypto.Hash(0))
	if err == nil {
		s.faults.Add(1)
	}
	return answer{signature, err}
}
