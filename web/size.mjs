// Fails when the scripts of the pages have grown too large: what a browser has to fetch, compressed.
import { readFileSync, readdirSync } from 'node:fs'
import { gzipSync } from 'node:zlib'

const limit = 350
const kilobytes = (end) =>
  Math.round(
    readdirSync('dist/assets')
      .filter((f) => f.endsWith(end))
      .reduce((n, f) => n + gzipSync(readFileSync(`dist/assets/${f}`)).length, 0) / 1000,
  )
console.log(`compressed: scripts ${kilobytes('.js')} kB, styles ${kilobytes('.css')} kB`)
if (kilobytes('.js') > limit) {
  console.error(`the scripts are larger than ${limit} kB`)
  process.exit(1)
}
