/** Sets a User Timing mark, if there is none of this name: the first time counts. */
export function markOnce(name: string): void {
  if (performance.getEntriesByName(name, "mark").length === 0) performance.mark(name);
}
