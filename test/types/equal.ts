/** Compares types exactly, for the type tests. */

/** True when two types are the same to the compiler, `any` and `readonly` told apart. */
export type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

/** Does not compile unless the types that it is given are the same: `same<Equal<A, B>>()`. */
export function same<_Same extends true>(): void {
  // For the compiler alone.
}
