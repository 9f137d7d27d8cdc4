package page

import (
	"errors"
	"io"

	"github.com/prometheus/common/expfmt"

	"pushquorum/expo"
)

// Stream writes what a Page of e would hold and keeps nothing of it: whatever the size of e, it takes the memory of a
// few pieces. It writes the page's bytes, but compressed in other pieces. Errors are those of Write.
func Stream(w io.Writer, f expfmt.Format, encoding string, busy Busy, e expo.Exposition) error {
	if err := checkEncoding(encoding); err != nil {
		return err
	}
	b, release := buffered(&counter{w: w, pace: busy.pace(movingRest)})
	defer release()
	pk := takePacker()
	defer pk.giveBack()
	before, _ := around(encoding, 0, 0)
	if _, err := b.Write(before); err != nil {
		return err
	}
	out := &streamWriter{w: b, packer: pk, encoding: encoding, pace: busy.pace(makingRest)}
	err := Write(pieceWriter{out.write}, f, e)
	var leftOut *LeftOutError
	if err != nil && !errors.As(err, &leftOut) {
		return err
	}
	_, after := around(encoding, out.size, out.sum)
	_, _ = b.Write(after) // an error is said by Flush
	if err := b.Flush(); err != nil {
		return err
	}
	return err
}

// streamWriter compresses piece by piece, as a page is.
type streamWriter struct {
	w        io.Writer
	packer   *packer
	encoding string
	pace     pace
	size     int64
	sum      uint32
}

func (s *streamWriter) write(piece []byte) error {
	content, err := s.packer.pack(piece, s.encoding)
	if err != nil {
		return err
	}
	s.size += int64(content.size)
	s.sum = content.addTo(s.sum)
	_, err = s.w.Write(content.content)
	s.pace.rest()
	return err
}

// pieceWriter hands on what is written in pieces of at most expo.PieceBytes.
type pieceWriter struct{ write func(piece []byte) error }

// Write implements io.Writer.
func (w pieceWriter) Write(b []byte) (int, error) {
	for done := 0; done < len(b); {
		n := min(expo.PieceBytes, len(b)-done)
		if err := w.write(b[done : done+n]); err != nil {
			return done, err
		}
		done += n
	}
	return len(b), nil
}
