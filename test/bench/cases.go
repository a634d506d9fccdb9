package main

import "time"

// The names of the tests.
const (
	testConnections = "connections"
	testMessages1   = "messages (1 session)"
	testMessages256 = "messages (256 sessions)"
	testDown1       = "bulk down (1 stream)"
	testDown64      = "bulk down (64 streams)"
	testUp1         = "bulk up (1 stream)"
	testUp64        = "bulk up (64 streams)"
	testUDP64       = "datagrams (64 bytes)"
	testUDP1200     = "datagrams (1200 bytes)"
	testMemory      = "idle sessions"
)

// test is one thing that is measured over every target.
type test struct {
	name  string
	about string
	unit  string  // of the figures in the table
	scale float64 // ns per unit of load (or bytes per session) times scale is the figure
	rate  string  // of the throughput
	job   job
}

// tests are all of them. quick shrinks the idle sessions; the rest is a matter of time and rounds.
func tests(warm, window time.Duration, idle int) []test {
	const (
		us      = 1e-3       // ns to us
		msPerGB = 1e9 / 1e6  // ns per byte to ms per 10^9 bytes
		kB      = 1.0 / 1000 // bytes to kB
	)
	list := []test{
		{testConnections, "connect, 64 bytes each way, close; 32 at once", "us/conn", us, "conn/s", job{Kind: kindConnections, Sessions: 32}},
		{testMessages1, "64 bytes there and back, one session", "us/msg", us, "msg/s", job{Kind: kindMessages, Sessions: 1}},
		{testMessages256, "64 bytes there and back, 256 sessions", "us/msg", us, "msg/s", job{Kind: kindMessages, Sessions: 256}},
		{testDown1, "origin to client", "ms/GB", msPerGB, "B/s", job{Kind: kindDownload, Sessions: 1}},
		{testDown64, "origin to client", "ms/GB", msPerGB, "B/s", job{Kind: kindDownload, Sessions: 64}},
		{testUp1, "client to origin", "ms/GB", msPerGB, "B/s", job{Kind: kindUpload, Sessions: 1}},
		{testUp64, "client to origin", "ms/GB", msPerGB, "B/s", job{Kind: kindUpload, Sessions: 64}},
		{testUDP64, "echo over 1000 flows, 64 under way, no header", "us/echo", us, "echo/s", job{Kind: kindDatagrams, Sessions: 1000, Size: 64}},
		{testUDP1200, "echo over 1000 flows, 64 under way, no header", "us/echo", us, "echo/s", job{Kind: kindDatagrams, Sessions: 1000, Size: 1200}},
		{testMemory, "memory of an idle session: the proxy's own, and the kernel's above that without a proxy; the kernel path's maps, half a kB a session, are not in it", "kB/session", kB, "", job{Kind: kindIdle, Sessions: idle}},
	}
	for i := range list {
		list[i].job.Warm, list[i].job.Time = warm, window
	}
	return list
}
