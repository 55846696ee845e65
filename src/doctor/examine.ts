import { asError } from '../util/as-error.ts';
import { TimeLimit } from '../util/time-limit.ts';
import { waitFor } from '../util/wait-for.ts';
import { CHECKS, fault, type CheckName, type Finding } from './finding.ts';

/** Gathers the facts of one thing and judges them. It changes nothing anywhere. */
export interface Probe {
  /** What is said to be wrong where the probe itself fails. */
  readonly check: CheckName;
  readonly look: (signal: AbortSignal) => Promise<readonly Finding[]>;
}

/** Runs all probes side by side. One that fails, or takes longer than it may, is a finding, and stops no other. */
export async function examine(
  probes: readonly Probe[],
  { limitMs, signal }: { readonly limitMs: number; readonly signal: AbortSignal },
): Promise<readonly Finding[]> {
  const found = await Promise.all(probes.map((probe) => lookWithin(probe, limitMs, signal)));
  signal.throwIfAborted();
  return found.flat().sort((a, b) => CHECKS.indexOf(a.check) - CHECKS.indexOf(b.check));
}

async function lookWithin({ check, look }: Probe, limitMs: number, signal: AbortSignal): Promise<readonly Finding[]> {
  using limit = new TimeLimit(signal, limitMs);
  try {
    return await waitFor(look(limit.signal), limit.signal);
  } catch (error) {
    if (limit.signal.aborted)
      return [
        fault(
          check,
          `nothing was found out within ${limitMs / 1000} s`,
          'Look whether the servers that the configuration names answer from this machine, and ask again.',
        ),
      ];
    return [
      fault(check, `cannot be looked at: ${asError(error).message}`, 'The message says why; mend that, and ask again.'),
    ];
  }
}
