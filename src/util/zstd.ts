import * as zlib from 'node:zlib';

interface ZstdOfNode {
  readonly zstdCompressSync?: (data: Uint8Array) => Buffer;
  readonly zstdDecompressSync?: (data: Uint8Array, options: { readonly maxOutputLength: number }) => Buffer;
}

const { zstdCompressSync: compress, zstdDecompressSync: decompress } = zlib as ZstdOfNode;

/** Null where this Node has none. Source: Node's docs, zlib.zstdCompressSync: added in 22.15.0 and 23.8.0. */
export const zstd = compress && decompress ? { compress, decompress } : null;

export const ZSTD_NEEDS = `Node 22.15 or newer, and this is ${process.version}`;
