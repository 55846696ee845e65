/**
 * The hash by which Kafka's Java client places keys, so that Spoor's records lie in the partitions where any other
 * producer would put the same key. Signed 32 bits, as in Java.
 * Source: org.apache.kafka.common.utils.Utils.murmur2 (MurmurHash2, seed 0x9747b28c, by Austin Appleby).
 */
export function murmur2(key: Uint8Array, start = 0, end = key.length): number {
  const M = 0x5bd1e995;
  const length = end - start;
  const aligned = start + (length & ~3);
  let h = 0x9747b28c ^ length;
  for (let i = start; i < aligned; i += 4) {
    let k = key[i]! | (key[i + 1]! << 8) | (key[i + 2]! << 16) | (key[i + 3]! << 24);
    k = Math.imul(k, M);
    k ^= k >>> 24;
    h = Math.imul(h, M) ^ Math.imul(k, M);
  }
  const rest = end - aligned;
  if (rest > 0) {
    if (rest === 3) h ^= key[aligned + 2]! << 16;
    if (rest >= 2) h ^= key[aligned + 1]! << 8;
    h = Math.imul(h ^ key[aligned]!, M);
  }
  h ^= h >>> 13;
  h = Math.imul(h, M);
  return h ^ (h >>> 15);
}

/** The partition of a key (bytes `start` to `end`) in a topic of `partitions`, as the Java client's default partitioner chooses it. */
export function partitionForKey(key: Uint8Array, partitions: number, start = 0, end = key.length): number {
  return (murmur2(key, start, end) & 0x7fffffff) % partitions;
}
