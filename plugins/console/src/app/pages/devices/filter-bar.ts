import {
  ChangeDetectionStrategy,
  Component,
  computed,
  DestroyRef,
  inject,
  input,
  linkedSignal,
  output,
} from '@angular/core';
import { FormsModule } from '@angular/forms';
import { MatAutocompleteModule } from '@angular/material/autocomplete';
import { MatButtonModule } from '@angular/material/button';
import { MatFormFieldModule } from '@angular/material/form-field';
import { MatInputModule } from '@angular/material/input';
import { MatSelectModule } from '@angular/material/select';
import { mdiClose } from '@mdi/js';
import { Api } from '../../core/api';
import { count } from '../../core/format';
import { DeviceFilter, Facet, Facets } from '../../core/models';
import { Icon } from '../../ui/icon';
import { filterWords, SILENCES } from './filter';

const OTHERS = ['firmware_id', 'heard_within', 'battery_below'] as const;
const TYPING = 300; // ms after the last key that a text is searched for

/** The filter as a row of fields; what each may be comes from the fleet (GET /devices/facets). */
@Component({
  selector: 'otad-filter-bar',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [
    FormsModule,
    Icon,
    MatAutocompleteModule,
    MatButtonModule,
    MatFormFieldModule,
    MatInputModule,
    MatSelectModule,
  ],
  templateUrl: './filter-bar.html',
  styles: `
    form {
      display: grid;
      grid-template-columns: minmax(180px, 1.6fr) repeat(5, minmax(120px, 1fr)) auto;
      align-items: center;
      gap: 8px;
    }
    .other {
      display: inline-flex;
      align-items: center;
      gap: 4px;
      margin-top: 8px;
    }
    @media (max-width: 1100px) {
      form {
        grid-template-columns: repeat(3, minmax(0, 1fr));
      }
      .search {
        grid-column: 1 / -1;
      }
    }
    @media (max-width: 600px) {
      form {
        grid-template-columns: repeat(2, minmax(0, 1fr));
      }
    }
  `,
})
export class FilterBar {
  readonly filter = input.required<DeviceFilter>();
  /** typing: it goes on from a text that was searched for before. */
  readonly changed = output<{ filter: DeviceFilter; typing: boolean }>();

  protected readonly facets = inject(Api).resource<Facets>(() => '/devices/facets');
  protected readonly silences = SILENCES;
  protected readonly icon = mdiClose;
  /** As it is typed: what the filter has of it is without the spaces around. */
  protected readonly text = linkedSignal<string, string>({
    source: () => this.filter().q ?? '',
    computation: (q, typed) => (typed?.value.trim() === q ? typed.value : q),
  });
  protected readonly tag = linkedSignal(() => this.filter().tag ?? '');
  protected readonly any = computed(() => Object.keys(this.filter()).length > 0);
  protected readonly state = computed(() => {
    const { online, update } = this.filter();
    return update ?? (online === undefined ? '' : online ? 'online' : 'offline');
  });
  protected readonly chips = computed(() => this.options('chips', this.filter().chip));
  protected readonly versions = computed(() => this.options('versions', this.filter().version));
  protected readonly tags = computed(() =>
    this.options('tags').filter(({ value }) => value.toLowerCase().includes(this.tag().toLowerCase())),
  );
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    inject(DestroyRef).onDestroy(() => clearTimeout(this.timer));
  }

  protected set(change: Partial<DeviceFilter>, typing = false): void {
    clearTimeout(this.timer);
    const filter = { ...this.filter(), q: this.text().trim() || undefined, ...change };
    this.changed.emit({ filter, typing: typing && this.filter().q !== undefined });
  }

  protected clear(): void {
    clearTimeout(this.timer);
    this.changed.emit({ filter: {}, typing: false });
  }

  protected typed(text: string): void {
    this.text.set(text);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.set({}, true), TYPING);
  }

  protected setState(state: string): void {
    this.set({
      online: state === 'online' ? true : state === 'offline' ? false : undefined,
      update: state === 'under_way' || state === 'failed' ? state : undefined,
    });
  }

  protected setTag(text: string): void {
    const tag = text.trim();
    if (tag === '' || /^[^:]+:/.test(tag)) this.set({ tag: tag || undefined });
  }

  /** What no field of the row shows, in words, each with the name it goes by. */
  protected readonly others = computed(() =>
    OTHERS.filter((name) => this.filter()[name] !== undefined).map((name) => ({
      name,
      text: filterWords({ [name]: this.filter()[name] }),
    })),
  );

  protected drop(name: keyof DeviceFilter): void {
    this.set({ [name]: undefined });
  }

  protected label({ value, count: n }: Facet): string {
    return n ? `${value} (${count(n)})` : value;
  }

  /** What the fleet has, and what is filtered by, be there none of it. */
  private options(kind: keyof Facets, chosen?: string): Facet[] {
    const list = this.facets.value()?.[kind] ?? [];
    return !chosen || list.some(({ value }) => value === chosen) ? list : [{ value: chosen, count: 0 }, ...list];
  }
}
