package cluster

import (
	"bytes"
	"compress/lzw"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"pushquorum/cluster/internal/gossip"
)

// The types of memberlist's messages that the tests make.
const (
	packetPing     = 0
	packetAlive    = 4
	packetPushPull = 6
	packetCompress = 9
)

// msgpackMap encodes name and value in turn.
func msgpackMap(pairs ...any) []byte {
	b := []byte{0x80 | byte(len(pairs)/2)}
	for _, p := range pairs {
		switch v := p.(type) {
		case string:
			b = append(append(b, 0xd9, byte(len(v))), v...)
		case int:
			b = binary.BigEndian.AppendUint64(append(b, 0xd3), uint64(v))
		case bool:
			b = append(b, map[bool]byte{false: 0xc2, true: 0xc3}[v])
		case []byte:
			b = append(binary.BigEndian.AppendUint32(append(b, 0xc6), uint32(len(v))), v...)
		}
	}
	return b
}

func packet(kind byte, maps ...[]byte) []byte { return append([]byte{kind}, bytes.Join(maps, nil)...) }

// compressed is a message that unfolds to so many zeros.
func compressed(t *testing.T, size int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := lzw.NewWriter(&b, lzw.LSB, 8)
	if _, err := w.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return packet(packetCompress, msgpackMap("Algo", 0, "Buf", b.Bytes()))
}

// sendStream sends a message to the gossip's TCP port and waits until the other end has done with it.
func sendStream(t *testing.T, address string, message []byte) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(testDeadline))
	if _, err := conn.Write(message); err != nil {
		t.Fatal(err)
	}
	_ = conn.(*net.TCPConn).CloseWrite()
	_, _ = io.Copy(io.Discard, conn)
}

// sendPacket sends a message to the gossip's UDP port, and then a question, whose answer shows that it was looked at
// and survived.
func sendPacket(t *testing.T, r *replicaT, message []byte) {
	t.Helper()
	conn, err := net.Dial("udp", r.cfg.ListenAddress)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(message); err != nil {
		t.Fatal(err)
	}
	ping := packet(packetPing, msgpackMap("SeqNo", 7, "Node", gossip.NodeName(r.self, r.gossip.Starts)))
	eventually(t, "a ping is answered", func() bool {
		if _, err := conn.Write(ping); err != nil {
			return false
		}
		_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		answer := make([]byte, 1500)
		n, err := conn.Read(answer)
		return err == nil && n > 0 && bytes.Contains(answer[:n], []byte("SeqNo"))
	})
}

// Whoever reaches the gossip port may send anything. Each of these ended the process before memberlist 0.7.0, or took
// its memory.
func TestNoPacketEndsAReplica(t *testing.T) {
	t.Parallel()
	_, replicas := trio(t)
	victim := replicas[0]
	node := func(versions ...byte) []byte {
		return msgpackMap("Node", "x", "Name", "x", "Addr", []byte{127, 0, 0, 1}, "Port", 1, "Incarnation", 1, "State",
			0, "Meta", []byte{}, "Vsn", versions)
	}
	for _, c := range []struct {
		name    string
		message []byte
	}{
		{
			"22 bytes with the length of a message to come",
			[]byte("\x08\x81\xaaUserMsgLen\xd3\x40\x00\x00\x00\x00\x00\x00\x00"),
		},
		{"an empty compressed message", compressed(t, 0)},
		{"a compressed message of 42 MB", compressed(t, 42<<20)},
		{
			"a member with one version number",
			packet(packetPushPull, msgpackMap("Nodes", 1, "UserStateLen", 0, "Join", false), node(1)),
		},
		{"a living member with four version numbers", packet(packetAlive, node(1, 5, 2, 2))},
	} {
		t.Run(c.name, func(t *testing.T) {
			sendStream(t, victim.cfg.ListenAddress, c.message)
			sendPacket(t, victim, c.message)
		})
	}
	if !strings.Contains(victim.logs.String(), "larger than limit") {
		t.Error("the large message was unfolded")
	}
	waitReady(t, victim)
	for _, r := range replicas[1:] {
		eventually(t, r.cfg.Name+" keeps it", func() bool {
			for _, m := range r.gossip.Alive() {
				if m.ID == victim.self {
					return true
				}
			}
			return false
		})
	}
	push(t, victim, "after", 1)
}
