import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

let collect: (() => void) | null = null;

/**
 * Frees what nobody refers to any more, at once: some ten milliseconds for a small heap. Large buffers lie outside of V8's
 * heap, and it lets hundreds of megabytes of them pile up before it looks. V8 gives its collector to who asks by a flag; it
 * may be set at any time, and a context that is made after that has it.
 */
export function collectGarbage(): void {
  if (collect === null) {
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as () => void;
    setFlagsFromString('--no-expose-gc');
  }
  collect();
}
