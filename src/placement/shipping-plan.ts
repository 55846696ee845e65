import type { SchemaRole } from '../shipping/tablet-replicator.ts';

/** What a tablet of a stream is begun with. */
export interface Beginning {
  /** The membership, and all that is asked for of the tablet besides its log. */
  readonly asked: string;
  readonly schemas: SchemaRole;
}

/** `begins-anew`: it is ours still, and begun anew it sees what is asked for, and whether it is to speak for its table. */
export type ShippingStep =
  | { readonly kind: 'start'; readonly key: string }
  | { readonly kind: 'stop'; readonly key: string; readonly why: 'begins-anew' | 'not-ours' };

/**
 * What makes the tablets that are shipped equal those that are to be. Pure.
 * @param stopping those that have yet to finish the write in hand: nothing of theirs begins meanwhile
 * @param hasReplica whether the tablet of one has a replica here
 */
export function planShipping<Running extends Beginning>(
  wanted: ReadonlyMap<string, Beginning>,
  running: ReadonlyMap<string, Running>,
  stopping: { has(key: string): boolean },
  hasReplica: (running: Running) => boolean,
): readonly ShippingStep[] {
  const steps: ShippingStep[] = [];
  for (const [key, shipping] of running) {
    const { asked, schemas } = shipping;
    const now = wanted.get(key);
    if (now === undefined) {
      // One whose tablet is dropped ends by itself, at the end of the log.
      if (hasReplica(shipping)) steps.push({ kind: 'stop', key, why: 'not-ours' });
    } else if (now.asked !== asked || (now.schemas === 'none') !== (schemas === 'none'))
      steps.push({ kind: 'stop', key, why: 'begins-anew' });
  }
  for (const key of wanted.keys()) if (!running.has(key) && !stopping.has(key)) steps.push({ kind: 'start', key });
  return steps;
}
