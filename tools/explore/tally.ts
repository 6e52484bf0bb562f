/**
 * Tally: what has been counted of states. Plain data, as it goes from process to process, and lies in a file between two runs.
 */
export interface Tally {
  /** Distinct ones that were judged. */
  states: number;
  /** Of them, opened by themselves, the way a host opens them. */
  alone: number;
  /** Recoveries that were made to be shared: the other states were judged through one of them. */
  recoveries: number;
  /** Of the states, those with an index that was there before the cut. */
  remembered: number;
  /** Of the states, salvaged before they were opened. */
  salvaged: number;
  /** Cuts that left a state that had been judged already. */
  repeated: number;
}

export function noTally(): Tally {
  return { states: 0, alone: 0, recoveries: 0, remembered: 0, salvaged: 0, repeated: 0 };
}

export function addTally(to: Tally, added: Tally): void {
  for (const name of Object.keys(noTally()) as (keyof Tally)[]) to[name] += added[name];
}
