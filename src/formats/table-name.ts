/** A table's name as readers of Debezium's records look for it. */
export interface SplitName {
  /** What stands before the first dot, without Impala's prefix; empty where there is no dot. */
  readonly db: string;
  /** The rest. */
  readonly table: string;
}

const IMPALA = 'impala::';

/** Pure: `impala::shop.orders` is `orders` of `shop`; `orders` alone is of no database. */
export function splitTableName(kuduName: string): SplitName {
  const dot = kuduName.indexOf('.');
  if (dot < 0) return { db: '', table: kuduName };
  const db = kuduName.slice(0, dot);
  return { db: db.startsWith(IMPALA) ? db.slice(IMPALA.length) : db, table: kuduName.slice(dot + 1) };
}
