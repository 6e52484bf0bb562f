/**
 * Units: slots of one layer that are relocated together, found by walking over the map. Pure but for the reading.
 */
import { slotsPerRegion } from '../base/units.ts';
import { slotDisk } from '../pool/format/slot.ts';
import type { SlotEntry, SlotStates } from '../pool/format/slot-states.ts';
import type { Pool } from '../pool/pool.ts';
import { regionsOf } from '../snapshot/regions.ts';

/** A slot and its clusters that are to be relocated: to one new cluster, together with all others that a frozen layer has there. */
export interface WantedSlot {
  /** Within its region. */
  readonly slot: number;
  readonly clusters: readonly SlotEntry[];
}

export interface Unit {
  readonly layer: number;
  readonly region: number;
  readonly slots: readonly WantedSlot[];
}

/** Whether a cluster on that disk is to go elsewhere. */
export type IsWanted = (disk: number) => boolean;

/** What of a layer is to be relocated, as the map is when it is read, in pieces of up to `slotsMax` slots, asked for each piece. */
export async function* unitsOf(
  pool: Pool,
  layer: number,
  isWanted: IsWanted,
  slotsMax: () => number,
): AsyncGenerator<Unit> {
  for await (const { region, stack } of regionsOf(pool, [layer])) {
    const slots = wantedIn(stack[0] as SlotStates, isWanted);
    for (let at = 0, end = 0; at < slots.length; at = end) {
      end = at + slotsMax();
      yield { layer, region, slots: slots.slice(at, end) };
    }
  }
}

/** The unit without the slots that need not go any more. */
export function stillWanted(unit: Unit, isWanted: IsWanted): Unit {
  return { ...unit, slots: unit.slots.filter(({ clusters }) => isAnyWanted(clusters, isWanted)) };
}

function isAnyWanted(clusters: readonly SlotEntry[], isWanted: IsWanted): boolean {
  return clusters.some(({ hi }) => isWanted(slotDisk(hi)));
}

function wantedIn(states: SlotStates, isWanted: IsWanted): WantedSlot[] {
  const wanted: WantedSlot[] = [];
  for (let slot = 0; slot < slotsPerRegion; slot++) {
    if (states.isEmpty(slot)) continue;
    const clusters = states.clusters(slot);
    if (isAnyWanted(clusters, isWanted)) wanted.push({ slot, clusters });
  }
  return wanted;
}
