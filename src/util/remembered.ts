/**
 * Works something out anew only where something that it follows from is another than the last time; else the last result is
 * given, itself, by which whoever goes on from it knows that there is nothing new either.
 * @param work must depend on nothing but what it is given, and that must never change while it is the same
 */
export function remembered<Of extends readonly unknown[], R>(work: (...of: Of) => R): (...of: Of) => R {
  let last: { readonly of: Of; readonly result: R } | null = null;
  return (...of) => {
    if (last === null || !isSame(last.of, of)) last = { of, result: work(...of) };
    return last.result;
  };
}

function isSame(before: readonly unknown[], now: readonly unknown[]): boolean {
  return before.length === now.length && before.every((each, i) => each === now[i]);
}
