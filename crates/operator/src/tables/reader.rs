//! Reads rows of a key, no faster than the tables may be read.

use std::time::Duration;

use events_adapters::aws::{AwsSettings, check_credentials};
use events_adapters::dynamodb::{Item, Next, Page, Range, Tables};
use events_adapters::time::SystemTimer;
use events_processor::ports::{PortError, Timer};
use events_settings::{CredentialSource, Reader, dynamodb, environment};

use super::record::TableRow;
use super::selection::{Key, Kind};
use crate::exit::{Failure, unusable};

/// Attempts to read a page that DynamoDB refuses for the moment.
const ATTEMPTS: u32 = 6;
/// What the smallest read costs: the cost of a page, if DynamoDB does not say it.
const LEAST_CAPACITY: f64 = 0.5;

/// Reads the tables.
#[derive(Debug)]
pub(crate) struct TableReader {
    tables: Tables,
    timer: SystemTimer,
    max_rcu: f64,
    /// When the capacity that was used is paid for.
    free_at: Duration,
    /// Read capacity units that were used.
    pub(crate) capacity: f64,
    /// Rows that were read.
    pub(crate) rows: u64,
}

impl TableReader {
    /// Reads the settings, and finds credentials. Connects with the first read.
    pub(crate) async fn open(max_rcu: u32) -> Result<Self, Failure> {
        let mut reader = Reader::new(&environment);
        let settings: AwsSettings = dynamodb(&mut reader, CredentialSource::EnvironmentOrChain);
        let settings = reader.into_result(settings).map_err(unusable)?;
        check_credentials(&settings)
            .await
            .map_err(|error| unusable(format!("no AWS credentials: {error}")))?;
        Ok(Self {
            tables: Tables::new(&settings),
            timer: SystemTimer::default(),
            max_rcu: f64::from(max_rcu),
            free_at: Duration::ZERO,
            capacity: 0.0,
            rows: 0,
        })
    }

    /// The rows of a key from `first` to `last`, in order.
    pub(crate) async fn between(
        &mut self,
        key: &Key,
        first: i64,
        last: i64,
    ) -> Result<Vec<TableRow>, PortError> {
        self.rows(key, first, last, None).await
    }

    /// At most `count` rows of a key, the last ones up to `last`, in order.
    pub(crate) async fn last(
        &mut self,
        key: &Key,
        last: i64,
        count: u32,
    ) -> Result<Vec<TableRow>, PortError> {
        // The row under 0 of a token is its current price, not one of its history.
        let first = i64::from(key.kind == Kind::Price);
        let mut rows = self.rows(key, first, last, Some(count)).await?;
        rows.reverse();
        Ok(rows)
    }

    /// The current price of a token.
    pub(crate) async fn current_price(&mut self, key: &Key) -> Result<Option<TableRow>, PortError> {
        Ok(self.rows(key, 0, 0, Some(1)).await?.pop())
    }

    /// The name of a table's stream, else that of the table.
    pub(crate) async fn stream_of(&self, table: &str) -> Result<String, PortError> {
        Ok(self.tables.stream_of(table).await?.unwrap_or_else(|| format!("table/{table}")))
    }

    /// The rows of a range; with a `count`, so many from its end, newest first.
    async fn rows(
        &mut self,
        key: &Key,
        first: i64,
        last: i64,
        count: Option<u32>,
    ) -> Result<Vec<TableRow>, PortError> {
        if first > last || count == Some(0) {
            return Ok(Vec::new());
        }
        let (table, pk, newest_first) = (key.table.clone(), key.pk.clone(), count.is_some());
        let limit = count.map(|count| i32::try_from(count).unwrap_or(i32::MAX));
        let range = Range { table, pk, first, last, newest_first, limit };
        let most = count.map_or(usize::MAX, |count| count as usize);
        let (mut items, mut next): (Vec<Item>, Option<Next>) = (Vec::new(), None);
        loop {
            let page = self.page(&range, next).await?;
            items.extend(page.items);
            next = page.next;
            if next.is_none() || items.len() >= most {
                items.truncate(most);
                self.rows += items.len() as u64;
                return Ok(items.into_iter().map(|item| TableRow::new(key, item)).collect());
            }
        }
    }

    /// One page, when its turn has come.
    async fn page(&mut self, range: &Range, after: Option<Next>) -> Result<Page, PortError> {
        self.timer.sleep(self.free_at.saturating_sub(self.timer.monotonic())).await;
        let mut attempt = 1;
        let page = loop {
            match self.tables.query(range, after.clone()).await {
                Err(error) if error.is_transient() && attempt < ATTEMPTS => {
                    self.timer.sleep(self.timer.backoff(attempt)).await;
                    attempt += 1;
                }
                answer => break answer?,
            }
        };
        let used = page.capacity.unwrap_or(LEAST_CAPACITY);
        self.capacity += used;
        self.free_at =
            self.free_at.max(self.timer.monotonic()) + Duration::from_secs_f64(used / self.max_rcu);
        Ok(page)
    }
}
