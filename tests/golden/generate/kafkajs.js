// Asks KafkaJS where it puts each key. The protocol is in README.md. Run in a directory where one version of kafkajs is installed.
const { createRequire } = require('module')
const fs = require('fs')

const here = createRequire(`${process.cwd()}/`)
const { Partitioners } = here('kafkajs')
const { version } = here('kafkajs/package.json')
const newer = !version.startsWith('1.')

const SETTINGS = newer
  ? [
      ['DefaultPartitioner', 'murmur2'],
      ['JavaCompatiblePartitioner', 'murmur2'],
      ['LegacyPartitioner', 'murmur2_kafkajs_legacy'],
    ]
  : [
      ['DefaultPartitioner', 'murmur2_kafkajs_legacy'],
      ['JavaCompatiblePartitioner', 'murmur2'],
    ]

const [counts, ...lines] = fs.readFileSync(0, 'utf8').trim().split('\n')
const keys = lines.map(line => Buffer.from(line === '-' ? '' : line, 'hex'))

for (const count of counts.split(' ').map(Number)) {
  const partitionMetadata = Array.from({ length: count }, (_, partitionId) => ({ partitionId, leader: 0 }))
  for (const [setting, family] of SETTINGS) {
    const partitioner = Partitioners[setting]()
    const placements = keys.map(key => partitioner({ topic: 't', partitionMetadata, message: { key } }))
    console.log(['kafkajs', version, setting, family, count, placements.join(' ')].join('\t'))
  }
}
