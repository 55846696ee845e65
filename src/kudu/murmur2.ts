/** Factor and shift of MurmurHash64A, Austin Appleby's public-domain hash. */
const FACTOR = 0xc6a4a7935bd1e995n;
const SHIFT = 47n;

/** MurmurHash64A, as Kudu's hash partitioning uses it (kudu/util/hash_util.h). Unsigned. */
export function murmur2Hash64(bytes: Buffer, seed: number): bigint {
  let hash = BigInt(seed >>> 0) ^ multiply(BigInt(bytes.length), FACTOR);
  const blocksEnd = bytes.length & ~7;
  for (let at = 0; at < blocksEnd; at += 8) {
    const block = multiply(bytes.readBigUInt64LE(at), FACTOR);
    hash = multiply(hash ^ multiply(block ^ (block >> SHIFT), FACTOR), FACTOR);
  }
  const tail = bytes.subarray(blocksEnd);
  if (tail.length > 0) {
    let last = 0n;
    for (let i = tail.length - 1; i >= 0; i--) last = (last << 8n) | BigInt(tail[i]!);
    hash = multiply(hash ^ last, FACTOR);
  }
  hash = multiply(hash ^ (hash >> SHIFT), FACTOR);
  return hash ^ (hash >> SHIFT);
}

function multiply(a: bigint, b: bigint): bigint {
  return BigInt.asUintN(64, a * b);
}
