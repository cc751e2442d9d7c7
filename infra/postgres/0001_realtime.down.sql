-- Drops everything, with the changes that wait in the outbox.
DROP SCHEMA realtime CASCADE;
