/**
 * How a transaction of the sink ended: `fenced` by another sidecar; `overdue`, the store had ended it since it took longer
 * than it was granted; `failed` for anything else.
 */
export type TransactionOutcome = 'committed' | 'fenced' | 'overdue' | 'failed';
export const TRANSACTION_OUTCOMES: readonly TransactionOutcome[] = ['committed', 'fenced', 'overdue', 'failed'];

/** What is counted of a stream's sink that ships many tablets in one transaction. */
export interface TransactionMetrics {
  /** @param tablets how many it had */
  transaction(outcome: TransactionOutcome, seconds: number, tablets: number): void;
}
