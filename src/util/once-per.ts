/**
 * Works out once what follows from an object, and knows it for as long as there is that object.
 * @param work must depend on nothing that changes while the object stays the same
 */
export function oncePer<T extends object, R>(work: (of: T) => R): (of: T) => R {
  const known = new WeakMap<T, { readonly result: R }>();
  return (of) => {
    let entry = known.get(of);
    if (!entry) known.set(of, (entry = { result: work(of) }));
    return entry.result;
  };
}
