


SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

SET default_tablespace = '';

SET default_table_access_method = heap;


CREATE TABLE public.agents (
    id character varying(64) NOT NULL COLLATE pg_catalog."C",
    verifier bytea NOT NULL,
    mosquitto character varying(300) NOT NULL COLLATE pg_catalog."C",
    enrolled_at bigint NOT NULL,
    enrolled_by character varying(200) NOT NULL COLLATE pg_catalog."C",
    revoked_at bigint,
    session bigint NOT NULL,
    ended_session bigint NOT NULL,
    boot character varying(26) NOT NULL COLLATE pg_catalog."C",
    agent_version character varying(64) NOT NULL COLLATE pg_catalog."C",
    clock character varying(16) NOT NULL COLLATE pg_catalog."C",
    heard_within_s bigint NOT NULL,
    outbox character varying(26) NOT NULL COLLATE pg_catalog."C",
    last_heard bigint,
    state character varying(16) NOT NULL COLLATE pg_catalog."C",
    reason character varying(500) NOT NULL COLLATE pg_catalog."C",
    since bigint
);



CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);



CREATE TABLE public.commands (
    id character varying(26) NOT NULL COLLATE pg_catalog."C",
    key character varying(71) COLLATE pg_catalog."C",
    body_hash character varying(71) NOT NULL COLLATE pg_catalog."C",
    agent character varying(64) NOT NULL COLLATE pg_catalog."C",
    device character varying(64) NOT NULL COLLATE pg_catalog."C",
    name character varying(64) NOT NULL COLLATE pg_catalog."C",
    args json NOT NULL,
    hazard character varying(16) NOT NULL COLLATE pg_catalog."C",
    issuer character varying(200) NOT NULL COLLATE pg_catalog."C",
    purpose character varying(500) NOT NULL COLLATE pg_catalog."C",
    lease_s bigint,
    configuration_version bigint,
    timeout_s double precision NOT NULL,
    state character varying(16) NOT NULL COLLATE pg_catalog."C",
    issued_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    accepted_at bigint NOT NULL,
    sent_at bigint,
    received_at bigint,
    started_at bigint,
    finished_at bigint,
    cancel_at bigint,
    told_at bigint,
    data json NOT NULL,
    reason text NOT NULL COLLATE pg_catalog."C"
);



CREATE TABLE public.configuration_changes (
    id bigint NOT NULL,
    device character varying(64) NOT NULL COLLATE pg_catalog."C",
    at bigint NOT NULL,
    kind character varying(16) NOT NULL COLLATE pg_catalog."C",
    version bigint NOT NULL,
    hash character varying(71) NOT NULL COLLATE pg_catalog."C",
    state character varying(16) NOT NULL COLLATE pg_catalog."C",
    document json NOT NULL,
    errors json NOT NULL,
    reason character varying(500) NOT NULL COLLATE pg_catalog."C",
    who character varying(200) NOT NULL COLLATE pg_catalog."C"
);



CREATE SEQUENCE public.configuration_changes_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;



ALTER SEQUENCE public.configuration_changes_id_seq OWNED BY public.configuration_changes.id;



CREATE TABLE public.configuration_desired (
    device character varying(64) NOT NULL COLLATE pg_catalog."C",
    version bigint NOT NULL,
    hash character varying(71) NOT NULL COLLATE pg_catalog."C",
    document json NOT NULL,
    issued_at bigint NOT NULL,
    issued_by character varying(200) NOT NULL COLLATE pg_catalog."C",
    answered boolean NOT NULL,
    rollback_after_s bigint DEFAULT '300'::bigint NOT NULL
);



CREATE TABLE public.configuration_layers (
    layer character varying(16) NOT NULL COLLATE pg_catalog."C",
    subject character varying(64) NOT NULL COLLATE pg_catalog."C",
    document json NOT NULL,
    changed_at bigint NOT NULL,
    changed_by character varying(200) NOT NULL COLLATE pg_catalog."C"
);



CREATE TABLE public.configuration_reported (
    device character varying(64) NOT NULL COLLATE pg_catalog."C",
    version bigint NOT NULL,
    hash character varying(71) NOT NULL COLLATE pg_catalog."C",
    state character varying(16) NOT NULL COLLATE pg_catalog."C",
    t bigint NOT NULL,
    document json NOT NULL,
    errors json NOT NULL,
    reason character varying(500) NOT NULL COLLATE pg_catalog."C"
);



CREATE TABLE public.console_sessions (
    hash character varying(71) NOT NULL COLLATE pg_catalog."C",
    name character varying(100) NOT NULL COLLATE pg_catalog."C",
    role character varying(16) NOT NULL COLLATE pg_catalog."C",
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    last_used_at bigint NOT NULL
);



CREATE TABLE public.devices (
    id character varying(64) NOT NULL COLLATE pg_catalog."C",
    agent character varying(64) NOT NULL COLLATE pg_catalog."C",
    profile character varying(64) NOT NULL COLLATE pg_catalog."C",
    first_seen bigint NOT NULL,
    carried boolean NOT NULL,
    interval_s double precision
);



CREATE TABLE public.enrolment_codes (
    id character varying(26) NOT NULL COLLATE pg_catalog."C",
    hash character varying(71) NOT NULL COLLATE pg_catalog."C",
    agent character varying(64) COLLATE pg_catalog."C",
    note character varying(200) NOT NULL COLLATE pg_catalog."C",
    uses_left bigint NOT NULL,
    expires_at bigint NOT NULL,
    created_at bigint NOT NULL,
    created_by character varying(200) NOT NULL COLLATE pg_catalog."C"
);



CREATE TABLE public.met_lives (
    agent character varying(64) NOT NULL COLLATE pg_catalog."C",
    outbox character varying(26) NOT NULL COLLATE pg_catalog."C",
    life character varying(26) NOT NULL COLLATE pg_catalog."C",
    met_at bigint NOT NULL
);



CREATE TABLE public.refusals (
    who character varying(100) NOT NULL COLLATE pg_catalog."C",
    why character varying(64) NOT NULL COLLATE pg_catalog."C",
    detail character varying(300) NOT NULL COLLATE pg_catalog."C",
    count bigint NOT NULL,
    first_at bigint NOT NULL,
    last_at bigint NOT NULL
);



CREATE TABLE public.sign_in_links (
    hash character varying(71) NOT NULL COLLATE pg_catalog."C",
    name character varying(100) NOT NULL COLLATE pg_catalog."C",
    role character varying(16) NOT NULL COLLATE pg_catalog."C",
    created_at bigint NOT NULL,
    created_by character varying(200) NOT NULL COLLATE pg_catalog."C",
    expires_at bigint NOT NULL,
    used_at bigint
);



CREATE TABLE public.tokens (
    id character varying(26) NOT NULL COLLATE pg_catalog."C",
    hash character varying(71) NOT NULL COLLATE pg_catalog."C",
    name character varying(100) NOT NULL COLLATE pg_catalog."C",
    role character varying(16) NOT NULL COLLATE pg_catalog."C",
    created_at bigint NOT NULL,
    created_by character varying(200) NOT NULL COLLATE pg_catalog."C",
    expires_at bigint,
    last_used_at bigint
);



ALTER TABLE ONLY public.configuration_changes ALTER COLUMN id SET DEFAULT nextval('public.configuration_changes_id_seq'::regclass);



INSERT INTO public.agents VALUES ('agent-1', '\x226a16ca62781b96dad54914dcb5c353c3d94da8bdac85ad73f41ab7bb0a7e7c', 'plain:226a16ca62781b96dad54914dcb5c353c3d94da8bdac85ad73f41ab7bb0a7e7c', 1795476672000, 'test', NULL, 1, 0, '01M80T5JNV0000000000000000', '', 'unsynced', 30, '', 1795476672000, 'online', 'born', 1795476672000);
INSERT INTO public.agents VALUES ('agent-2', '\x7a6f8fb9311bac23453850166c9390f07588b0c007a2eebc7ae8473849d74670', 'plain:7a6f8fb9311bac23453850166c9390f07588b0c007a2eebc7ae8473849d74670', 1795476672000, 'test', 1795476672000, 0, 0, '', '', '', 30, '', NULL, 'offline', 'revoked', 1795476672000);



INSERT INTO public.alembic_version VALUES ('0004');



INSERT INTO public.commands VALUES ('01M85BZKG0TP17WDBJ3MBN9215', '5af72dcd13bf50bf1fa9c84eb9d705ae09db1f1a6d2c075c68469d564fc8a603', 'sha256:da68aae6a2214b3b80a86c2f838ce10314ee9720dd5ce29569f74eb4165ec05b', 'agent-1', 'lamp-1', 'switch', '{"level": 100, "on": true}', 'none', 'token operator', '', NULL, NULL, 10, 'sent', 1795476672000, 1795476732000, 1795476672000, 1795476672000, NULL, NULL, NULL, NULL, NULL, '{}', '');



INSERT INTO public.configuration_changes VALUES (1, 'lamp-1', 1795476672000, 'set', 1, 'sha256:50fa4646cc9f6937ddb775473d19ee103abb759ea98b27f2de4e99db7c97719d', '', '{"interval_s": 5, "dimmed": false, "label": "\u8def\u706f"}', '[]', '', 'test');
INSERT INTO public.configuration_changes VALUES (2, 'lamp-1', 1795476672000, 'reported', 1, 'sha256:50fa4646cc9f6937ddb775473d19ee103abb759ea98b27f2de4e99db7c97719d', 'applied', '{"interval_s": 5, "dimmed": false, "label": "\u8def\u706f"}', '[]', '', '');



INSERT INTO public.configuration_desired VALUES ('lamp-1', 1, 'sha256:50fa4646cc9f6937ddb775473d19ee103abb759ea98b27f2de4e99db7c97719d', '{"interval_s": 5, "dimmed": false, "label": "\u8def\u706f"}', 1795476672000, 'test', true, 300);



INSERT INTO public.configuration_layers VALUES ('device', 'lamp-1', '{"interval_s": 5, "label": "\u8def\u706f"}', 1795476672000, 'test');



INSERT INTO public.configuration_reported VALUES ('lamp-1', 1, 'sha256:50fa4646cc9f6937ddb775473d19ee103abb759ea98b27f2de4e99db7c97719d', 'applied', 1795476672000, '{"interval_s": 5, "dimmed": false, "label": "\u8def\u706f"}', '[]', '');



INSERT INTO public.console_sessions VALUES ('82781355d27fba93e0fb9af4d134253c9480c81b902b2b577f1c734bd4474eaa', 'Li Na', 'operator', 1795476672000, 1796081472000, 1795476672000);



INSERT INTO public.devices VALUES ('lamp-1', 'agent-1', 'lamp', 1795476672000, true, NULL);
INSERT INTO public.devices VALUES ('lamp-2', 'agent-1', 'lamp', 1795476672000, true, NULL);
INSERT INTO public.devices VALUES ('lamp-3', 'agent-1', 'lamp', 1795476672000, true, NULL);
INSERT INTO public.devices VALUES ('lamp-4', 'agent-1', 'lamp', 1795476672000, true, NULL);
INSERT INTO public.devices VALUES ('lamp-5', 'agent-1', 'lamp', 1795476672000, true, NULL);



INSERT INTO public.enrolment_codes VALUES ('01M85BZKG0ZTC1NBKWTNY1MJWP', 'ba4209a5ee96c4756254ae1c020283ae5cdf25c78c00f9080ac09a8441248012', 'agent-3', '', 1, 1795563072000, 1795476672000, 'test');



INSERT INTO public.met_lives VALUES ('agent-1', '01M80T5JNV0000000000000001', '01M80T5JNV0000000000000000', 1795476672000);



INSERT INTO public.refusals VALUES ('stranger', 'unknown_agent', 'MQTT from 127.0.0.1', 1, 1795476672000, 1795476672000);



INSERT INTO public.sign_in_links VALUES ('6d5012ef918a7242db64d4243fc2dbc09763e7dd789de9cf6cd360f8433f9045', 'Wang Wei', 'operator', 1795476672000, 'test', 1795480272000, NULL);
INSERT INTO public.sign_in_links VALUES ('c01e36642201793791fde54071e162be1a74c6f05f3e4bf25dca680cffc7d13d', 'Li Na', 'operator', 1795476672000, 'test', 1795480272000, 1795476672000);



INSERT INTO public.tokens VALUES ('01M85BZKG0ZDPW53YJE33KC37F', 'bd9febcb82ab2bd35cbad6709f43bc20724cc0ee9b94e101bf32bf97cee1c695', 'test administrator', 'administrator', 1795476672000, 'test', NULL, NULL);



SELECT pg_catalog.setval('public.configuration_changes_id_seq', 2, true);



ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkey PRIMARY KEY (version_num);



ALTER TABLE ONLY public.agents
    ADD CONSTRAINT pk_agents PRIMARY KEY (id);



ALTER TABLE ONLY public.commands
    ADD CONSTRAINT pk_commands PRIMARY KEY (id);



ALTER TABLE ONLY public.configuration_changes
    ADD CONSTRAINT pk_configuration_changes PRIMARY KEY (id);



ALTER TABLE ONLY public.configuration_desired
    ADD CONSTRAINT pk_configuration_desired PRIMARY KEY (device);



ALTER TABLE ONLY public.configuration_layers
    ADD CONSTRAINT pk_configuration_layers PRIMARY KEY (layer, subject);



ALTER TABLE ONLY public.configuration_reported
    ADD CONSTRAINT pk_configuration_reported PRIMARY KEY (device);



ALTER TABLE ONLY public.console_sessions
    ADD CONSTRAINT pk_console_sessions PRIMARY KEY (hash);



ALTER TABLE ONLY public.devices
    ADD CONSTRAINT pk_devices PRIMARY KEY (id);



ALTER TABLE ONLY public.enrolment_codes
    ADD CONSTRAINT pk_enrolment_codes PRIMARY KEY (id);



ALTER TABLE ONLY public.met_lives
    ADD CONSTRAINT pk_met_lives PRIMARY KEY (agent, outbox, life);



ALTER TABLE ONLY public.refusals
    ADD CONSTRAINT pk_refusals PRIMARY KEY (who, why);



ALTER TABLE ONLY public.sign_in_links
    ADD CONSTRAINT pk_sign_in_links PRIMARY KEY (hash);



ALTER TABLE ONLY public.tokens
    ADD CONSTRAINT pk_tokens PRIMARY KEY (id);



ALTER TABLE ONLY public.commands
    ADD CONSTRAINT uq_commands_key UNIQUE (key);



ALTER TABLE ONLY public.enrolment_codes
    ADD CONSTRAINT uq_enrolment_codes_hash UNIQUE (hash);



ALTER TABLE ONLY public.tokens
    ADD CONSTRAINT uq_tokens_hash UNIQUE (hash);



CREATE INDEX ix_commands_agent_id ON public.commands USING btree (agent, id);



CREATE INDEX ix_commands_device_id ON public.commands USING btree (device, id);



CREATE INDEX ix_commands_finished_at ON public.commands USING btree (finished_at);



CREATE INDEX ix_commands_state_id ON public.commands USING btree (state, id);



CREATE INDEX ix_configuration_changes_device_id ON public.configuration_changes USING btree (device, id);



CREATE INDEX ix_configuration_desired_answered ON public.configuration_desired USING btree (answered);



CREATE INDEX ix_console_sessions_expires_at ON public.console_sessions USING btree (expires_at);



CREATE INDEX ix_devices_agent ON public.devices USING btree (agent);



CREATE INDEX ix_devices_profile ON public.devices USING btree (profile);



CREATE INDEX ix_enrolment_codes_expires_at ON public.enrolment_codes USING btree (expires_at);



CREATE INDEX ix_sign_in_links_expires_at ON public.sign_in_links USING btree (expires_at);



ALTER TABLE ONLY public.devices
    ADD CONSTRAINT fk_devices_agent FOREIGN KEY (agent) REFERENCES public.agents(id);



ALTER TABLE ONLY public.met_lives
    ADD CONSTRAINT fk_met_lives_agent FOREIGN KEY (agent) REFERENCES public.agents(id);




