import type { Change } from '../change/change.ts';
import type { SinkRecord } from '../change/record.ts';
import { compileJson } from '../formats/json.ts';
import type { StoredStream } from '../streams/stored-stream.ts';
import { SPOOR_VERSION } from '../util/version.ts';

/** How the changes of a stream are written. */
export function encoderFor({ definition }: StoredStream): (change: Change) => readonly SinkRecord[] {
  const { name, tombstones } = definition;
  const format = compileJson({ streamName: name, version: SPOOR_VERSION, tombstones });
  return (change) => format.encode(change);
}
