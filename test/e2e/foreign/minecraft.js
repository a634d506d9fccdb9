// A Minecraft server or client, with every packet by minecraft-protocol.
//
//   node minecraft.js server PORT ADDRESS...        kicks who chats, telling what was said and from where
//   node minecraft.js client PORT ADDRESS NAME      prints the server's status, then the reason of its kick
'use strict'

const mc = require('minecraft-protocol')

const version = '1.21.1'
const { loginPacket } = require('minecraft-data')(version)
const [role, port, ...rest] = process.argv.slice(2)
if (role === 'server') rest.forEach(serve)
else play(...rest).catch(fail)

function serve (host) {
  const server = mc.createServer({ host, port: Number(port), version, motd: 'behind the box', maxPlayers: 7, 'online-mode': false })
  server.on('error', fail)
  server.on('playerJoin', client => {
    const { remoteAddress, remotePort } = client.socket
    client.on('error', error => console.error(error))
    client.on('chat_message', packet => client.end(`${client.username} ${remoteAddress} ${remotePort} ${packet.message}`))
    client.write('login', { ...loginPacket, entityId: client.id })
  })
}

async function play (host, name) {
  const at = { host, port: Number(port), version }
  const status = await mc.ping(at)
  console.log(JSON.stringify({ motd: status.description.text, max: status.players.max }))

  const client = mc.createClient({ ...at, username: name, auth: 'offline' })
  client.on('error', fail)
  client.once('login', () => client.chat('hello'))
  client.once('kick_disconnect', packet => {
    const { localAddress, localPort } = client.socket
    console.log(JSON.stringify({ kicked: packet.reason.value.text.value, address: localAddress, port: localPort }))
  })
  client.once('disconnect', packet => fail(packet.reason))
}

function fail (error) {
  console.error(error)
  process.exit(1)
}
