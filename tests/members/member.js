// KafkaJS. Arguments: bootstrap, group, topic, client id, protocol (it knows the classic one alone), log. Ends when standard input closes.
const fs = require('fs')
const { Kafka, logLevel } = require('kafkajs')

const [bootstrap, groupId, topic, clientId, , log] = process.argv.slice(2)
const consumer = new Kafka({ brokers: [bootstrap], clientId, logLevel: logLevel.NOTHING }).consumer({ groupId })

async function main() {
  const out = fs.openSync(log, 'a')
  process.stdin.on('end', async () => {
    await consumer.disconnect()
    process.exit(0)
  })
  process.stdin.resume()
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: process.env.AUTO_OFFSET_RESET === 'earliest' })
  await consumer.run({
    eachMessage: async ({ topic, partition, message }) => {
      fs.writeSync(out, `${topic} ${partition} ${message.offset} ${message.key} ${message.value} ${Date.now()}\n`)
    },
  })
}

main()
