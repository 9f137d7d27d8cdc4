package raftnet

import (
	"context"
	"net"
	"net/rpc"
)

// The calls between replicas are net/rpc's, with gob. What is asked and answered this package does not know.

// peerPrefix begins the name of each call.
const peerPrefix = "Peer."

// Serve answers the calls of one connection until it ends. peer has a method for each call; its type is named Peer,
// because that is how a call begins. The error is of such methods.
func Serve(conn net.Conn, peer any) error {
	server := rpc.NewServer()
	if err := server.Register(peer); err != nil {
		return err
	}
	server.ServeConn(conn)
	return nil
}

// CallOnce makes one call over a connection and closes it. An answer that is late may be written into reply even then.
func CallOnce(ctx context.Context, conn net.Conn, method string, args, reply any) error {
	c := rpc.NewClient(conn)
	defer c.Close() //nolint:errcheck // the answer is there, or there is none
	call := c.Go(peerPrefix+method, args, reply, make(chan *rpc.Call, 1))
	select {
	case <-call.Done:
		return call.Error
	case <-ctx.Done():
		return ctx.Err()
	}
}
