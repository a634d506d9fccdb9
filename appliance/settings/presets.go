package settings

// Preset is what is known about one kind of server: what a service for it should say, and what its owner must know.
// It is data and nothing else; a form is filled from it and everything can be changed afterwards.
type Preset struct {
	ID        string   `json:"id"`   // also the name of the service and the pool that are made from it
	Name      string   `json:"name"` // as its players call it
	Protocols []string `json:"protocols"`
	Ports     []Ports  `json:"ports"`
	TCPHeader string   `json:"tcpHeader"`
	UDPHeader string   `json:"udpHeader"`
	Health    Health   `json:"health,omitzero"`
	Notes     []string `json:"notes"` // sentences: what the server must be told, and what does not work
	Probe     Probe    `json:"probe"`
}

// Probe is a question that a server of this kind answers to anybody, for testing whether it can be reached.
type Probe struct {
	Network string `json:"network"`        // tcp, udp
	Port    uint16 `json:"port,omitempty"` // 0: there is no usual one
	Send    []byte `json:"send,omitempty"` // empty: the server speaks first, or need not speak
}

// The notes that several games share.
const (
	noUDPHeader = "It cannot read a PROXY header on UDP. It sees this box as every player's address, so bans by address belong here and not there. If it must see the real addresses, turn on transparent: then its replies have to be routed back through this box."
	noRCON      = "Remote control (RCON) is left out on purpose: reach it over your own network."
	noUDPCheck  = "Nothing on TCP tells whether it is up, so no health check is made."
)

// sourceQuery is A2S_INFO, which Source servers and many others answer.
const sourceQuery = "\xff\xff\xff\xffTSource Engine Query\x00"

// Presets lists the kinds of servers that are known.
func Presets() []Preset {
	return []Preset{
		minecraftJava(), minecraftBedrock(),
		udpGame("source", "Source and CS2", ports(27015, 27015), 27015, noUDPHeader, noRCON, noUDPCheck),
		fiveM(),
		udpGame("rust", "Rust", []Ports{{28015, 28015}, {28017, 28017}}, 28017, noUDPHeader, noRCON+" So is Rust+, TCP 28082: add a service for it if you use it.", noUDPCheck),
		udpGame("valheim", "Valheim", ports(2456, 2457), 2457, noUDPHeader, "Crossplay goes through the game's own relays and never reaches this box.", noUDPCheck),
		palworld(),
		udpGame("ark", "ARK", []Ports{{7777, 7778}, {27015, 27015}}, 27015, noUDPHeader, "Survival Ascended needs port 7777 only; Survival Evolved needs all three.", noRCON, noUDPCheck),
		teamSpeak(), mumble(), ssh(), web(), everything(),
	}
}

func ports(first, last uint16) []Ports { return []Ports{{first, last}} }

// udpGame is a game on UDP that answers the query of Steam and reads no header.
func udpGame(id, name string, at []Ports, query uint16, notes ...string) Preset {
	return Preset{
		ID: id, Name: name, Protocols: []string{"udp"}, Ports: at, TCPHeader: "none", UDPHeader: "none",
		Health: Health{Check: "none"}, Notes: notes, Probe: Probe{"udp", query, []byte(sourceQuery)},
	}
}

func minecraftJava() Preset {
	return Preset{
		ID: "minecraft-java", Name: "Minecraft Java", Protocols: []string{"tcp"}, Ports: ports(25565, 25565), TCPHeader: "v2", UDPHeader: "none",
		Health: Health{Check: "tcp", Port: 25565},
		Notes: []string{
			"Tell the server to read the header. Paper: proxies.proxy-protocol: true in config/paper-global.yml. Velocity: haproxy-protocol = true in velocity.toml. BungeeCord: proxy_protocol: true in config.yml.",
			"It is all or nothing: once it is on, players who connect past this box cannot join any more.",
			"A vanilla, Fabric or Forge server cannot read it: choose none for the TCP header, or put Velocity in front of it.",
		},
		// A handshake for status, host "breakwater.invalid", and the status request.
		Probe: Probe{"tcp", 25565, []byte("\x1c\x00\xff\xff\xff\xff\x0f\x12breakwater.invalid\x63\xdd\x01\x01\x00")},
	}
}

func minecraftBedrock() Preset {
	return Preset{
		ID: "minecraft-bedrock", Name: "Minecraft Bedrock", Protocols: []string{"udp", "tcp"}, Ports: ports(19132, 19132), TCPHeader: "none", UDPHeader: "none",
		Health: Health{Check: "none"},
		Notes: []string{
			"Geyser and WaterdogPE can read a header on the first datagram: choose v2-first, and turn on their PROXY protocol option for Bedrock (Geyser: use-proxy-protocol, in some versions enable-proxy-protocol or use-haproxy-protocol). Never v2-each: joining would hang.",
			"The Bedrock Dedicated Server and PocketMine cannot read a header: leave it at none, or use transparent.",
			"Clients from 26.60 on find the server over TCP 19132 and then play on UDP ports that the server chooses (NetherNet): add those ports to the service. No header can carry their address.",
			noUDPCheck,
		},
		Probe: Probe{"udp", 19132, []byte("\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x00\xfe\xfe\xfe\xfe\xfd\xfd\xfd\xfd\x12\x34\x56\x78\x00\x00\x00\x00\x00\x00\x00\x02")},
	}
}

func fiveM() Preset {
	return Preset{
		ID: "fivem", Name: "FiveM", Protocols: []string{"tcp", "udp"}, Ports: ports(30120, 30120), TCPHeader: "none", UDPHeader: "none",
		Health: Health{Check: "tcp", Port: 30120, Header: "none"},
		Notes: []string{
			"It reads no PROXY header, neither on TCP nor on UDP. Only transparent shows it the real addresses; its replies have to be routed back through this box then.",
			"Tell the server where players find it: sv_endpoints, sv_listingHostOverride and sv_forceIndirectListing in server.cfg, with the edge address.",
			"TCP and UDP of one player must reach the same server: keep the choice of origins at source-hash.",
		},
		Probe: Probe{"tcp", 30120, []byte("GET /info.json HTTP/1.0\r\nHost: breakwater.invalid\r\n\r\n")},
	}
}

func palworld() Preset {
	return Preset{
		ID: "palworld", Name: "Palworld", Protocols: []string{"udp"}, Ports: ports(8211, 8211), TCPHeader: "none", UDPHeader: "none",
		Health: Health{Check: "none"},
		Notes:  []string{noUDPHeader, "A community server that is listed needs UDP 27015 too: add it to the ports.", noRCON, noUDPCheck},
		Probe:  Probe{Network: "udp", Port: 8211},
	}
}

func teamSpeak() Preset {
	return Preset{
		ID: "teamspeak", Name: "TeamSpeak 3", Protocols: []string{"udp", "tcp"}, Ports: []Ports{{9987, 9987}, {30033, 30033}}, TCPHeader: "none", UDPHeader: "none",
		Health: Health{Check: "tcp", Port: 30033, Header: "none"},
		Notes: []string{
			noUDPHeader,
			"Port 30033 is file transfer, and what the health check looks at. ServerQuery, TCP 10011, is left out on purpose.",
		},
		Probe: Probe{Network: "tcp", Port: 30033},
	}
}

func mumble() Preset {
	return Preset{
		ID: "mumble", Name: "Mumble", Protocols: []string{"tcp", "udp"}, Ports: ports(64738, 64738), TCPHeader: "none", UDPHeader: "none",
		Health: Health{Check: "tcp", Port: 64738, Header: "none"},
		Notes: []string{
			"It reads no PROXY header, neither on TCP nor on UDP. Its autoban counts addresses and would ban everyone at once: set autobanAttempts=0, or use transparent.",
			"Voice falls back to TCP when UDP does not arrive from where the TCP connection came, so keep one origin for each server.",
		},
		Probe: Probe{"udp", 64738, []byte("\x00\x00\x00\x00breakwat")},
	}
}

func ssh() Preset {
	return Preset{
		ID: "ssh", Name: "SSH", Protocols: []string{"tcp"}, Ports: ports(22, 22), TCPHeader: "none", UDPHeader: "none",
		Health: Health{Check: "tcp", Port: 22, Header: "none"},
		Notes: []string{
			"OpenSSH reads no PROXY header: its log shows this box. Fail2ban would ban the box and with it everyone, and PerSourcePenalties of sshd do the same: exempt the box there and ban here.",
		},
		Probe: Probe{Network: "tcp", Port: 22},
	}
}

func web() Preset {
	return Preset{
		ID: "web", Name: "HTTP and HTTPS", Protocols: []string{"tcp"}, Ports: []Ports{{80, 80}, {443, 443}}, TCPHeader: "v2", UDPHeader: "none",
		Health: Health{Check: "tcp", Port: 443},
		Notes: []string{
			"Tell the server to read the header. nginx: listen 443 ssl proxy_protocol; with set_real_ip_from for this box. HAProxy: accept-proxy on the bind line. Caddy: listener_wrappers { proxy_protocol }. Apache: RemoteIPProxyProtocol On.",
			"TLS is carried through as it is; certificates stay on the server. HTTP/3, which is UDP 443, is left out: browsers use HTTP/2 instead.",
		},
		Probe: Probe{"tcp", 80, []byte("HEAD / HTTP/1.0\r\nHost: breakwater.invalid\r\n\r\n")},
	}
}

func everything() Preset {
	return Preset{
		ID: "everything", Name: "Everything", Protocols: []string{"tcp", "udp"}, Ports: ports(1, 65535), TCPHeader: "none", UDPHeader: "none",
		Health: Health{Check: "none"},
		Notes: []string{
			"Every port that clients dial leads to the same port of the origin, TCP and UDP: also those that you would rather keep private. Name what may be reached as services of their own when you know it.",
			"No header is sent, since hardly any server reads one on all its ports. A narrower service beside this one wins for its ports and can have its own.",
			"No health check is made, since no port is known to be open. Set one on the pool when there is.",
		},
		Probe: Probe{Network: "tcp"},
	}
}
