/** A value that is kept for as long as what it was made from stays the same. */
import { useState, type DependencyList } from 'react';

/** As `useMemo`, but for certain: React may forget what is memoised, and a connection or what it brought is not to be made anew. */
export function useKept<T>(make: () => T, deps: DependencyList): T {
  const [kept, keep] = useState(() => ({ value: make(), deps }));
  if (deps.length === kept.deps.length && deps.every((dep, index) => Object.is(dep, kept.deps[index]))) {
    return kept.value;
  }
  const next = { value: make(), deps };
  keep(next);
  return next.value;
}
