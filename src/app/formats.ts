import type { RecordFormat } from '../formats/format.ts';
import { compileJson } from '../formats/json.ts';
import type { StoredStream } from '../streams/stored-stream.ts';
import { SPOOR_VERSION } from '../util/version.ts';

/** How the changes of a stream are written. */
export function formatFor({ definition }: StoredStream): RecordFormat {
  const { name, tombstones } = definition;
  return compileJson({ streamName: name, version: SPOOR_VERSION, tombstones });
}
