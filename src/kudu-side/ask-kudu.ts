import { SpoorError } from '../errors.ts';
import { KuduError } from '../kudu/errors.ts';
import { isRefusal, refusalOf, securityCode } from './kudu-refusal.ts';

const CALL_TIMEOUT_MS = 20_000;

/** Runs a call that needs Kudu, bounded in time; what Kudu cannot or will not answer becomes an error that the API shows. */
export async function askKudu<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const signal = AbortSignal.timeout(CALL_TIMEOUT_MS);
  try {
    return await work(signal);
  } catch (error) {
    if (error instanceof KuduError)
      throw isRefusal(error) || securityCode(error.lastCause) !== null
        ? refusalOf(error)
        : new SpoorError('SPOOR_KUDU_UNAVAILABLE', error.message, {}, error);
    if (signal.aborted)
      throw new SpoorError('SPOOR_KUDU_UNAVAILABLE', `no answer within ${CALL_TIMEOUT_MS / 1000} s`, {}, error);
    throw error;
  }
}
