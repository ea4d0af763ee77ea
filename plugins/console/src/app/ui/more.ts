import { ChangeDetectionStrategy, Component, input } from '@angular/core';
import { MatButtonModule } from '@angular/material/button';
import { PagedList } from '../core/paged-list';
import { Problem } from './notice';

/** The end of a paged list: a button for the next page, or what kept it from coming. */
@Component({
  selector: 'otad-more',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [MatButtonModule, Problem],
  template: `@if (list().error(); as error) {
      <otad-problem [error]="error" (retry)="list().reload()" />
    } @else if (list().hasMore()) {
      <button matButton="outlined" type="button" [disabled]="list().loading()" (click)="list().more()">
        {{ list().loading() ? 'Loading…' : 'Show more' }}
      </button>
    }`,
  styles: `
    :host {
      display: grid;
      justify-items: center;
      padding: 12px;
    }
    :host:empty {
      display: none;
    }
    otad-problem {
      width: 100%;
    }
  `,
})
export class More {
  readonly list = input.required<PagedList<any>>();
}
