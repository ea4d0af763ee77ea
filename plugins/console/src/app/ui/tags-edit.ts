import { ChangeDetectionStrategy, Component, computed, model, signal } from '@angular/core';
import { FormsModule } from '@angular/forms';
import { MatButtonModule } from '@angular/material/button';
import { MatFormFieldModule } from '@angular/material/form-field';
import { MatInputModule } from '@angular/material/input';
import { mdiClose } from '@mdi/js';
import { Tags } from '../core/models';
import { Icon } from './icon';

/** Tags as chips that can be taken away, and two fields to add one. */
@Component({
  selector: 'otad-tags-edit',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [FormsModule, Icon, MatButtonModule, MatFormFieldModule, MatInputModule],
  template: `<div class="row" role="group" aria-label="Tags">
      @for (tag of entries(); track tag[0]) {
        <span class="chip">
          <span>{{ tag[0] }}: {{ tag[1] }}</span>
          <button type="button" [attr.aria-label]="'Remove the tag ' + tag[0]" (click)="remove(tag[0])">
            <otad-icon [path]="icon" />
          </button>
        </span>
      } @empty {
        <span class="muted">No tags yet</span>
      }
    </div>
    <div class="add" (keydown.enter)="add(); $event.preventDefault()">
      <mat-form-field>
        <mat-label>Tag</mat-label>
        <input
          matInput
          name="tag"
          maxlength="100"
          placeholder="site"
          [ngModel]="key()"
          (ngModelChange)="key.set($event)"
        />
      </mat-form-field>
      <mat-form-field>
        <mat-label>Value</mat-label>
        <input
          matInput
          name="value"
          maxlength="100"
          placeholder="berlin"
          [ngModel]="value()"
          (ngModelChange)="value.set($event)"
        />
      </mat-form-field>
      <button matButton="outlined" type="button" [disabled]="!key().trim() || !!problem()" (click)="add()">
        {{ tags()[key().trim()] === undefined ? 'Add tag' : 'Replace tag' }}
      </button>
    </div>
    @if (problem(); as words) {
      <p class="problem" role="alert">{{ words }}</p>
    }`,
  styles: `
    :host {
      display: grid;
      gap: 10px;
    }
    .chip {
      display: inline-flex;
      align-items: center;
      max-width: 100%;
      padding-left: 9px;
      border: 1px solid var(--line);
      border-radius: 6px;
      background: var(--panel-2);
      font-size: 13px;
      overflow-wrap: anywhere;
    }
    .chip button {
      display: grid;
      place-items: center;
      width: 28px;
      height: 28px;
      border: 0;
      background: none;
      color: var(--muted);
      cursor: pointer;
    }
    .chip button:hover {
      color: var(--bad);
    }
    .add {
      display: grid;
      grid-template-columns: minmax(0, 1fr) minmax(0, 1fr) auto;
      align-items: center;
      gap: 8px;
    }
    .problem {
      color: var(--bad);
      font-size: 13px;
    }
    @media (max-width: 500px) {
      .add {
        grid-template-columns: minmax(0, 1fr) minmax(0, 1fr);
      }
    }
  `,
})
export class TagsEdit {
  readonly tags = model.required<Tags>();
  protected readonly icon = mdiClose;
  protected readonly key = signal('');
  protected readonly value = signal('');
  protected readonly entries = computed(() => Object.entries(this.tags()).sort(([a], [b]) => a.localeCompare(b)));
  protected readonly problem = computed(() => {
    const key = this.key().trim();
    if (key.includes(':')) return 'The name of a tag has no colon.';
    return key && Object.keys({ ...this.tags(), [key]: '' }).length > 32 ? 'A device has 32 tags at most.' : null;
  });

  /** Takes in what stands in the fields; whoever saves calls it, so that nothing typed is lost. */
  add(): void {
    const key = this.key().trim();
    if (!key || this.problem()) return;
    this.tags.update((tags) => ({ ...tags, [key]: this.value().trim() }));
    this.key.set('');
    this.value.set('');
  }

  protected remove(key: string): void {
    this.tags.update(({ [key]: _, ...rest }) => rest);
  }
}
