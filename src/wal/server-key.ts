import { readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fromBinary } from '@bufbuild/protobuf';
import { InstanceMetadataPBSchema, type InstanceMetadataPB } from '../kudu/proto/fs_pb.ts';
import { crc32c } from '../util/crc32c.ts';

/** In `--fs_wal_dir`, and by a link in the folder of held logs: whoever has a segment has its key near. */
export const INSTANCE_FILE = 'instance';

/** With what a server encrypts the keys of its files. */
export type ServerKey =
  /** 16, 24 or 32 bytes, for AES of that length. */
  | { readonly kind: 'key'; readonly key: Buffer }
  /** It encrypts nothing: new segments are plain. */
  | { readonly kind: 'none' }
  /** It cannot be had: `why` names what keeps it, or what is wrong with the file. */
  | { readonly kind: 'unknown'; readonly why: string }
  /** There is no server near. */
  | { readonly kind: 'absent'; readonly why: string };

/** Segments lie two or three folders below: `wals/<tablet>/`, or `<hold>/<tablet>/<incarnation>/`. */
const MAX_LEVELS = 4;

const known = new Map<string, { readonly version: string; readonly key: ServerKey }>();

/**
 * The key with which a segment's own key is encrypted: that of the nearest file `instance` in the folders above it. Read
 * once, and again when that file is another one.
 */
export function serverKeyAbove(segmentPath: string): ServerKey {
  let dir = dirname(segmentPath);
  for (let level = 0; level < MAX_LEVELS; level++, dir = dirname(dir)) {
    const path = join(dir, INSTANCE_FILE);
    const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
    if (stat?.isFile() !== true) continue;
    const version = `${stat.ino}/${stat.mtimeNs}`;
    const last = known.get(path);
    if (last?.version === version) return last.key;
    const key = readServerKey(path);
    if (key.kind !== 'unknown') known.set(path, { version, key }); // what kept it from being read may pass, with the file as it is
    return key;
  }
  return { kind: 'absent', why: `there is no file ${INSTANCE_FILE} in the folders above it, which has the key` };
}

/** @param path of a file `instance` */
export function readServerKey(path: string): ServerKey {
  try {
    return keyIn(readInstance(readFileSync(path)), path);
  } catch (error) {
    return {
      kind: 'unknown',
      why: `${path} cannot be read: ${error instanceof Error ? error.message : String(error)}`,
    };
  }
}

/**
 * Whether Kudu's default provider of keys made it. What it does to a key is no protection, and needs nothing: each byte
 * XOR 0x2A. Source: kudu/fs/default_key_provider.h; 1.17 has the other word.
 */
const DEFAULT_PROVIDER: ReadonlySet<string> = new Set(['encryptionkey@0', 'clusterkey@0']);
const MASK = 0x2a;
const KEY_BYTES: ReadonlySet<number> = new Set([16, 24, 32]);
/** Kudu's, where it has tenants: everything is its, as long as nobody can make another. Source: kudu/fs/fs_manager.cc. */
const DEFAULT_TENANT = '00000000000000000000000000000000';

function keyIn({ serverKey, serverKeyVersion, tenants }: InstanceMetadataPB, path: string): ServerKey {
  const tenant = tenants.find(({ tenantId }) => tenantId === DEFAULT_TENANT) ?? tenants[0];
  const hidden = tenant ? tenant.tenantKey : serverKey;
  const version = tenant ? tenant.tenantKeyVersion : serverKeyVersion;
  if (hidden === '') return { kind: 'none' };
  if (!DEFAULT_PROVIDER.has(version))
    return {
      kind: 'unknown',
      why: `the tablet server's key ${JSON.stringify(version)} is kept by another provider than Kudu's default (--encryption_key_provider=default), as Ranger KMS, which Spoor does not ask`,
    };
  const key = Buffer.from(hidden, 'hex').map((byte) => byte ^ MASK);
  if (!KEY_BYTES.has(key.length) || hidden.length !== 2 * key.length)
    return { kind: 'unknown', why: `${path} has a key of ${hidden.length} hexadecimal digits, not of 32, 48 or 64` };
  return { kind: 'key', key: Buffer.from(key) };
}

const CONTAINER_MAGIC = Buffer.from('kuducntr', 'latin1');
const CONTAINER_VERSION = 2;
const CHECKSUM_BYTES = 4;

/**
 * The second record of a container of messages, of which the first says what is in it. All numbers are little-endian; a
 * record's length has a checksum, and so has its data. Source: kudu/util/pb_util.cc.
 */
function readInstance(bytes: Buffer): InstanceMetadataPB {
  const [magic, version] = [bytes.subarray(0, CONTAINER_MAGIC.length), bytes.readUInt32LE(CONTAINER_MAGIC.length)];
  if (!magic.equals(CONTAINER_MAGIC)) throw new RangeError('it does not begin with "kuducntr"');
  if (version !== CONTAINER_VERSION) throw new RangeError(`it is a container of version ${version}, not 2`);
  let at = CONTAINER_MAGIC.length + 4;
  at = check(bytes, 0, at);
  const description = record(bytes, at);
  const instance = record(bytes, description.end);
  return fromBinary(InstanceMetadataPBSchema, instance.data);
}

function record(bytes: Buffer, start: number): { readonly data: Buffer; readonly end: number } {
  const dataAt = check(bytes, start, start + 4);
  const dataEnd = dataAt + bytes.readUInt32LE(start);
  return { data: bytes.subarray(dataAt, dataEnd), end: check(bytes, dataAt, dataEnd) };
}

/** The checksum of what lies between stands behind it. @returns where that ends */
function check(bytes: Buffer, from: number, to: number): number {
  if (to + CHECKSUM_BYTES > bytes.length) throw new RangeError('it ends early');
  if (bytes.readUInt32LE(to) !== crc32c(bytes, from, to)) throw new RangeError(`bytes ${from} to ${to} are damaged`);
  return to + CHECKSUM_BYTES;
}
